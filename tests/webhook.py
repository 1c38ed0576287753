"""A webhook that alerts are sent to: it keeps what it is sent, and answers, refuses or hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

# The longest wait for a message, in seconds: it only catches one that never comes.
WAIT_S = 60.0


class Webhook:
    """What arrived, and how it misbehaves."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        self.hangs = False
        self.address = ""
        self._changed = asyncio.Event()

    async def until_told(self, alert: str, state: str) -> None:
        """Wait until the newest message of an alert, in the format json, is of this state."""
        async with asyncio.timeout(WAIT_S):
            while alert not in (told := {one["alert"]: one["state"] for one in self.messages}) or (
                told[alert] != state
            ):
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one message."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        self.messages.append(orjson.loads(await reader.readexactly(length)))
        self._changed.set()
        if not self.hangs:
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self.status)
            writer.close()
        else:
            await reader.read()
            writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Webhook]:
    """Run one on this event loop."""
    one = Webhook()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        one.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/canary-secret"
        yield one
