"""Requests with their texts, for operators who ask for it: in files, objects, spans, PostgreSQL.

Nothing here runs unless a setting asks for it, and no request waits for it.
"""
