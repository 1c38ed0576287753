"""The gateway: OpenAI's REST surface and gRPC.

It conducts every request: authenticate, classify, select, admit, execute, settle, answer.
Only this service and its ledger process touch PostgreSQL.
"""
