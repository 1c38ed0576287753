"""What a server serves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from services.chassis.rpc.settings import MAX_BODY


@dataclass(frozen=True)
class Service:
    """One gRPC service to serve: its full name, the generated adder, the servicer, and its longest message in bytes."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any
    longest: int = MAX_BODY
