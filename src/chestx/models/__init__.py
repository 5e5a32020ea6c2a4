"""Model folders, the runtimes that run them, and the answers they give."""
