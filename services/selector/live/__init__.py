"""The deployments' present health and usage, and what the replicas share of it."""
