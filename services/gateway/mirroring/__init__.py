"""Mirrors: a share of the requests is asked of a second target too, and both answers are compared."""
