"""Tells operators without Prometheus that something is wrong, and that it is over."""
