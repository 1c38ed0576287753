"""Signing in at the page through a provider of OpenID Connect, where an operator has named one."""
