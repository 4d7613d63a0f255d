"""What people and machines see of a command: live, line by line, or as JSON."""
