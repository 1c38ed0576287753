"""One call on its way through its candidates: attempts, retries, fallbacks."""
