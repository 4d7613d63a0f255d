"""The hub on this machine: SQLite, child processes, files."""
