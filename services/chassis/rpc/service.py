"""What a server serves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True)
class Service:
    """One gRPC service to serve: its full name, the generated adder and the servicer."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any
