"""The switch between hosts, which may be late, lose packets and keep hosts apart: python -m tests.chaos.switch.

Arguments are ADDRESS=DESCRIPTOR of each host's link. Once it is ready it says so; then orders come as lines of JSON on
the standard input, each answered with the counts of packets so far. The switch ends with its input.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvloop

# Of a packet, in bytes; a link's are at most as long.
LONGEST = 65_535
# Packets that are read from a link before the others have their turn.
AT_ONCE = 64


class Switch:
    """Passes packets on by their destination.

    Args:
        links: The descriptor of each address, as in the packet.
    """

    def __init__(self, links: Mapping[bytes, int]) -> None:
        self._links = links
        self._apart: set[tuple[bytes, bytes]] = set()
        self._delay_s = 0.0
        self._loss = 0.0
        self._random = random.Random(1)
        self.passed = 0
        self.dropped = 0

    def obey(self, order: Mapping[str, Any]) -> None:
        """Change what is wrong; an empty order changes nothing."""
        if not order:
            return
        pairs = [(_packed(one), _packed(other)) for one, other in order["apart"]]
        self._apart = {pair for one, other in pairs for pair in ((one, other), (other, one))}
        self._delay_s = order["delay_ms"] / 1000
        self._loss = order["loss"]

    def read(self, link: int) -> None:
        """Pass on what has come from a host."""
        for _ in range(AT_ONCE):
            try:
                packet = os.read(link, LONGEST)
            except BlockingIOError:
                return
            self._pass_on(packet)

    def _pass_on(self, packet: bytes) -> None:
        # The fixed header of IPv4 ends with source and destination.
        source, destination = packet[12:16], packet[16:20]
        to = self._links.get(destination)
        if (
            to is None
            or (self._apart and (source, destination) in self._apart)
            or (self._loss and self._random.random() < self._loss)
        ):
            self.dropped += 1
        elif self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._write, to, packet)
        else:
            self._write(to, packet)

    def _write(self, link: int, packet: bytes) -> None:
        self.passed += 1
        # A full queue loses packets, as everywhere.
        with suppress(BlockingIOError):
            os.write(link, packet)


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


async def main(arguments: list[str]) -> None:
    """Serve until the input ends."""
    pairs = [one.split("=") for one in arguments]
    switch = Switch({_packed(address): int(link) for address, link in pairs})
    loop = asyncio.get_running_loop()
    for _, link in pairs:
        loop.add_reader(int(link), switch.read, int(link))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while line := await orders.readline():
        switch.obey(json.loads(line))
        print(json.dumps({"passed": switch.passed, "dropped": switch.dropped}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
