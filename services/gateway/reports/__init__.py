"""What the ledger's tables say: usage and its cost, and what feedback teaches."""
