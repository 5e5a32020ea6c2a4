"""What a person sees: text in any script, the colours of a heatmap, the overlay."""
