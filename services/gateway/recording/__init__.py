"""Requests with their texts, for operators who ask for it: one JSON file for each, redacted, bounded, rotated.

Nothing here runs unless a setting asks for it, and no request waits for it.
"""
