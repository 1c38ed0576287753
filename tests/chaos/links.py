"""Drills in which hosts are kept apart, or their links are slow or lose packets."""

import time
from collections.abc import Sequence

from tests.chaos.cluster import NAMES
from tests.chaos.scene import Scene

# Of a packet, each way: as between regions, which nobody should put between Lumni and its Redis.
DELAY_MS = 15.0
LOSS = 0.01
# Until a gateway that reaches no executor gets no more requests, in seconds: two of the proxy's checks (deploy/haproxy.cfg),
# which the gateway answers within half a second each, and what a busy machine adds.
NOTICED_S = 5.0


async def apart(scene: Scene, pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """Keep hosts apart for the scene's seconds; when that began and ended."""
    since = time.monotonic()
    await scene.cluster.network.degrade(apart=pairs)
    await scene.flow()
    await scene.cluster.network.degrade()
    until = time.monotonic()
    await scene.cluster.recovered()
    scene.say(f"recovered {time.monotonic() - until:.1f} s after the links")
    return since, until


def _between(ones: str, others: str) -> list[tuple[str, str]]:
    return [
        (one, other)
        for one in (*NAMES, "valkey", "postgres")
        if one.startswith(ones)
        for other in (*NAMES, "valkey", "postgres")
        if other.startswith(others)
    ]


async def from_one_executor(scene: Scene) -> None:
    """No gateway reaches one of three executors, and no packet says so."""
    since, until = await apart(scene, _between("gateway", "executor-1"))
    # Nobody can tell whether the executor heard of them, so none is sent again.
    scene.must_fail("was sent to the executor beyond the cut", since, until)


async def from_deciders(scene: Scene) -> None:
    """No gateway reaches a classifier or selector."""
    await apart(scene, [*_between("gateway", "classifier"), *_between("gateway", "selector")])


async def from_valkey(scene: Scene) -> None:
    """Nobody reaches Valkey."""
    await apart(scene, [(name, "valkey") for name in NAMES])


async def from_postgres(scene: Scene) -> None:
    """Nobody reaches PostgreSQL."""
    await apart(scene, [(name, "postgres") for name in NAMES])


async def one_gateway_alone(scene: Scene) -> None:
    """One of two gateways reaches nothing behind it; the proxy still reaches it."""
    since, _ = await apart(
        scene, [("gateway-0", other) for other in (*NAMES, "valkey", "postgres") if other != "gateway-0"]
    )
    # Later ones must not get there.
    scene.must_fail("was at the gateway that reached no executor", since, since + NOTICED_S)


async def delay(scene: Scene) -> None:
    """Every packet between any two hosts is late."""
    await scene.cluster.network.degrade(delay_ms=DELAY_MS)
    await scene.flow()
    await scene.cluster.network.degrade()
    await scene.cluster.recovered()


async def loss(scene: Scene) -> None:
    """One packet in a hundred is lost, between any two hosts."""
    await scene.cluster.network.degrade(loss=LOSS)
    await scene.flow()
    await scene.cluster.network.degrade()
    await scene.cluster.recovered()
    counts = await scene.cluster.network.passed()
    scene.say(f"{counts['dropped']} packets were lost so far, {counts['passed']} arrived")
