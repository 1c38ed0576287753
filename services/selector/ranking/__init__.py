"""Which deployments may answer a request, and in what order."""
