"""The front door: OpenAI's REST surface and gRPC.

It conducts each request along the one road: authenticate, classify, select, admit, execute, settle, answer.
Only this service and its ledger process touch PostgreSQL.
"""
