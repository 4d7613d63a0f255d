"""Uploads that all workers share: opened by one, moved by all, finished by whoever sees the last part."""
