"""Provider answers in the format that the caller asked for, one for each operation."""
