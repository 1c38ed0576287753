"""Simulated users whose taste the selector has to learn, with a drift half way: make eval-learning."""
