"""Report -> what a receiving system reads; pure functions, independent of each other."""
