"""The ways to call a provider, and what its answers and errors mean."""
