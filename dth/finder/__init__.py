"""The finding half: list both sides, diff, send what differs."""
