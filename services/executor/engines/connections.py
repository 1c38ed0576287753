"""The direct engine's connections: aiohttp's, with less to do for each piece of a stream."""

from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler


class _Protocol(ResponseHandler):
    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp says so after each read, and then parses nothing once more. Only where reading was paused, because
        # more had come than was read, may something be left to parse.
        if self._reading_paused:
            super().resume_reading(resume_parser)


class Connector(aiohttp.TCPConnector):
    """Pools connections, each of which resumes only what was paused."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # aiohttp has no setting for it.
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))
