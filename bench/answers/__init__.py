"""How fast questions about a recording are answered: a session of a given size is made, indexed, and asked."""
