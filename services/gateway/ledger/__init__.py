"""The ledger process: usage and decision events from Redis into PostgreSQL."""
