"""Measures what one endpoint can do, by asking it."""
