"""Learning from outcomes: what users made of answers, as evidence for selections (docs/learning.md)."""
