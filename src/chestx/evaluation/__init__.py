"""What a model's outputs on labelled images are worth, and the settings drawn from them."""
