"""The HTTP server: uvicorn on an address of ours, drained when the process stops."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from services.chassis import listening
from services.chassis.config import Mistakes
from services.gateway.rest.connections import Connections
from services.gateway.rest.draining import Draining
from services.gateway.rest.early_answers import EarlyAnswers
from services.gateway.rest.http_protocol import HttpProtocol

BACKLOG = 1024
# An idle connection is kept for so long, in seconds: longer than load balancers keep theirs.
KEEP_ALIVE_S = 75
# Of an answer after which the connection is closed, so that nobody sends another request on it as that happens.
LAST = (b"connection", b"close")


# Open files that are not connections of REST: of gRPC, of the stores, of the process itself.
OTHER_FILES = 512


def below_file_limit(wanted: int) -> int:
    """As many of the wanted connections as this process may have open files for, after raising its limit if it may.

    Raises:
        Mistakes: there is room for none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + OTHER_FILES:
        soft = wanted + OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + OTHER_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - OTHER_FILES)
    if most < 1:
        raise Mistakes([f"the limit of open files is {hard}; allow more than {OTHER_FILES} (ulimit -n)"])
    return most


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: the process has one place that waits for signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


@asynccontextmanager
async def serve(
    application: ASGIApp,
    listen: str,
    drain_s: float,
    *,
    connections: Connections,
    draining: Draining,
    shares_port: bool = False,
) -> AsyncIterator[str]:
    """Serve REST until the block ends, then drain; yields the bound address.

    Args:
        application: What answers.
        listen: host:port; port 0 takes a free one.
        drain_s: The longest that requests under way may go on once no new ones are taken.
        connections: How many connections there may be.
        draining: For how long new ones are taken after the block, each answer being its connection's last.
        shares_port: Whether other processes may serve there too.

    Raises:
        Mistakes: the address cannot be bound.
    """
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server(
            (host.strip("[]"), int(port)), family=family, backlog=BACKLOG, reuse_port=shares_port
        )
    except (OSError, ValueError) as error:
        raise listening.mistake("LUMNI_REST_LISTEN", listen, error) from error
    with bound as listener:
        config = uvicorn.Config(
            EarlyAnswers(application),
            # Uvicorn calls it as it would a class of protocols.
            http=cast("type[asyncio.Protocol]", partial(HttpProtocol, connections)),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(drain_s),
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            draining.begun = True
            # Uvicorn makes the second list anew from the first every second.
            config.encoded_headers.append(LAST)
            server.server_state.default_headers.append(LAST)
            try:
                await asyncio.sleep(draining.delay_s)
            finally:
                server.should_exit = True
                await task
