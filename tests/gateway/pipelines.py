"""Pipelines in place of the gateway's, for tests of what is before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.chassis import errors
from services.gateway.keys.permissions import Caller
from services.gateway.requests.model_request import ModelRequest


class Asked:
    """A pipeline that notes what it is asked, and answers nothing."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    async def complete(self, _: Caller, request: ModelRequest) -> Any:
        self.requests.append(request)
        raise errors.Unavailable("nobody is there")

    @asynccontextmanager
    async def without_model(self, _: Caller) -> AsyncIterator[None]:
        yield
