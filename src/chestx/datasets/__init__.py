"""Somebody's labelled images: scanned, audited, split; nothing here knows a model."""
