"""Everything that makes and measures the weights; in no image."""
