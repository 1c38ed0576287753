"""Drills in which the clocks of hosts step."""

from tests.chaos.cluster import NAMES, REPLICAS
from tests.chaos.scene import Scene

HOUR_S = 3600


async def steps(scene: Scene) -> None:
    """The clock of each kind steps an hour ahead and back, then an hour behind and back, one kind after the other."""
    for kind in REPLICAS:
        hit = [scene.cluster.hosted[name] for name in NAMES if name.startswith(kind)]
        for service in hit:
            service.own_clock()
            await scene.cluster.restart(service)
        for ahead_s in (HOUR_S, 0, -HOUR_S, 0):
            for service in hit:
                service.set_clock(ahead_s)
            await scene.flow(scene.seconds / 5)
    await scene.cluster.recovered()
