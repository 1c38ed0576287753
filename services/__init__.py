"""Lumni's four services, and the chassis they are bolted onto."""
