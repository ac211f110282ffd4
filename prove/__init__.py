"""The proof: SIGKILL under load, round after round, and an account of every answer that a client received."""
