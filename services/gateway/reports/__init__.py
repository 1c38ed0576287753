"""What was used and what it cost, from the ledger's tables."""
