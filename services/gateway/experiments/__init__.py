"""Experiments: requests divided among variants, what each variant does to them, and what may be concluded from it."""
