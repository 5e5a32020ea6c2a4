"""Training, the only part that knows torch: labelled images in, a model folder out."""
