"""What tests, proofs and benchmarks have in common: origins, clients, recorders, logs and disks, written once.

What `wiretape demo` needs too stands in ``wiretape.cli.demo``, because that is installed with the program and this
folder is not: the certificates of origins, a served wiretape, waiting for a condition. Nothing of the program, and
nothing that is installed, imports this.
"""
