"""Stores that scale: a cluster of Valkey, Valkey that Sentinel watches, PostgreSQL behind PgBouncer."""
