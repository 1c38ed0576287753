"""The services behind the gateway, and what it does while one of them does not answer."""
