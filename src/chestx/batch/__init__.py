"""Paths in, a folder of results out."""
