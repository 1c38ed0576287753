"""Rate limits and budgets: what a request reserves, and what it is settled to."""
