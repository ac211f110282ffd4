"""Real things for tests: origins, clients, certificates, ports, bounded waiting."""
