"""The demonstration: own origins, a real client, a kill in the middle, and the account of it."""
