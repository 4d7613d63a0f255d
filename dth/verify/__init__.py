"""Comparing two locations without writing: every pair of objects, by the best evidence there is."""
