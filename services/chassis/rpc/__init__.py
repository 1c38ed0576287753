"""gRPC as every service speaks it: `serve`, `connect`, `call` and `stream`.

A servicer raises faults and never touches its context. The interceptor admits a call by its metadata before its message
is read, gives it a deadline, a span, a log line and a metric, and turns faults into google.rpc.Status. Where both ends
are in one process, `InProcess` takes the place of sockets.
"""

from services.chassis.rpc.client import call, connect, healthy, stream
from services.chassis.rpc.credentials import Admit, Metadata, check_listen
from services.chassis.rpc.inproc import InProcess
from services.chassis.rpc.interceptor import message_bytes, record_item, remaining_s
from services.chassis.rpc.server import serve, until_stopped
from services.chassis.rpc.service import Service
from services.chassis.rpc.settings import INPROC, MAX_BODY, MAX_QUESTION, Settings

__all__ = [
    "INPROC",
    "MAX_BODY",
    "MAX_QUESTION",
    "Admit",
    "InProcess",
    "Metadata",
    "Service",
    "Settings",
    "call",
    "check_listen",
    "connect",
    "healthy",
    "message_bytes",
    "record_item",
    "remaining_s",
    "serve",
    "stream",
    "until_stopped",
]
