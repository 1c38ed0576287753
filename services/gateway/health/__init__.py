"""How the deployments fare, for those who operate them."""
