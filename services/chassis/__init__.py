"""What every service is bolted onto.

Settings, errors, gRPC, telemetry, Redis, and the two tables all of them read: deployments and prices.
Nothing here knows what any service does.
"""
