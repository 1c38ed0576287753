"""Provider answers in the format of the call, one for each operation."""
