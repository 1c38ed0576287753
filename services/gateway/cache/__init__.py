"""The response cache: an answer that was paid for once is given again, to the same tenant for the same request."""
