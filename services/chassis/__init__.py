"""What all services share.

Settings, errors, gRPC, telemetry, Redis and YAML; and what several of them must read or decide alike: deployments,
prices, and the rules of who may and can take a request. Nothing here knows what any one service does.
"""
