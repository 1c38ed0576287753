"""How the deployments fare right now, and what replicas learn together."""
