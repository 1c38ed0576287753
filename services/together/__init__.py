"""Several services in one process: the gateway, and any of the three behind it.

They are the same services, with the same servicers; only the channels between them have no wire. `__main__` is the one
place that knows more than one service.
"""
