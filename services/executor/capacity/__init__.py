"""Which deployments may be called right now: circuit breakers, quotas, parallel calls, health."""
