"""Multipart uploads: how they are planned, run, resumed and mended."""
