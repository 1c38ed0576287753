"""Lumni beside other gateways: the same provider, the same load, the same run."""
