"""What can be asked of a session besides rows: each answer is one function, for the command line, MCP and the page."""
