"""Drills that stop processes: asked to, killed, frozen."""

import time

from tests.chaos.cluster import NAMES, REPLICAS, START_S, STOP_S
from tests.chaos.scene import Scene


async def rolling_restart(scene: Scene) -> None:
    """Each replica of every service is asked to stop and started anew, one after the other."""
    for name in NAMES:
        began = time.monotonic()
        await scene.cluster.restart(scene.cluster.hosted[name])
        scene.say(f"{name} was away for {time.monotonic() - began:.1f} s")
        await scene.flow(1)


async def executors_terminated(scene: Scene) -> None:
    """Each minute one of three executors is asked to stop, and started anew."""

    async def terminate(minute: int) -> None:
        name = f"executor-{minute % REPLICAS['executor']}"
        began = time.monotonic()
        await scene.cluster.restart(scene.cluster.hosted[name])
        scene.say(f"{name} was away for {time.monotonic() - began:.1f} s")

    await scene.every_minute(terminate)


async def executors_killed(scene: Scene) -> None:
    """Each minute one of three executors is killed, and started anew."""

    async def kill(minute: int) -> None:
        name = f"executor-{minute % REPLICAS['executor']}"
        moment = time.monotonic()
        scene.cluster.hosted[name].kill()
        why = f"{name} had it when it was killed"
        # One whose answer was counted already, and not yet passed on, is billed by what the provider counted.
        scene.must_fail(why, moment, time.monotonic(), kinds=("unknown", "final"))
        scene.cluster.hosted[name].spawn()
        await scene.cluster.hosted[name].ready(START_S)
        await scene.cluster.recovered()

    await scene.every_minute(kill)


async def killed_in_turn(scene: Scene) -> None:
    """One process of each kind but the executor is killed, and started anew."""
    for name in ("classifier-0", "selector-0", "ledger-0", "gateway-0"):
        service, moment = scene.cluster.hosted[name], time.monotonic()
        service.kill()
        if name.startswith("gateway"):
            # The proxy says 502 for those without an answer yet, and cuts the others.
            scene.must_fail(
                f"{name} had it when it was killed", moment, time.monotonic(), statuses=(0, 200, 502)
            )
        await scene.flow(scene.seconds / 5)
        service.spawn()
        await service.ready(START_S)
        await scene.cluster.recovered()


async def frozen_in_turn(scene: Scene) -> None:
    """Each kind of process and store is frozen for a while: what it has to do is late, and nothing is lost."""
    frozen = [scene.cluster.hosted[f"{kind}-0"] for kind in REPLICAS]
    for service in (*frozen, scene.cluster.one_valkey, scene.cluster.postgres):
        scene.say(f"{service.name} is frozen")
        service.pause()
        await scene.flow(scene.seconds / 3)
        service.resume()
        await scene.cluster.recovered()


async def crashing_version(scene: Scene) -> None:
    """A version that ends while it starts comes to one replica of each service, and is rolled back."""
    for kind in REPLICAS:
        service = scene.cluster.hosted[f"{kind}-0"]
        await service.stop(STOP_S)
        with service.running("tests.chaos.no_such_version"):
            service.spawn()
            await scene.flow(scene.seconds / 5)
            if service.pid is not None:
                raise AssertionError(f"{service.name} runs a version that there is not")
        service.spawn()
        await service.ready(START_S)
        await scene.cluster.recovered()


async def failing_version(scene: Scene) -> None:
    """A version that answers INTERNAL comes to one replica of each service behind the gateway, and is rolled back."""
    for kind in ("classifier", "selector", "executor"):
        service = scene.cluster.hosted[f"{kind}-0"]
        await service.stop(STOP_S)
        with service.running("tests.chaos.bad_version", kind):
            service.spawn()
            since = time.monotonic()
            await service.ready(START_S)
            await scene.flow(scene.seconds / 5)
            await service.stop(STOP_S)
        if kind == "executor":
            scene.must_fail(
                "was sent to the version that fails", since, time.monotonic(), statuses=(200, 500)
            )
        service.spawn()
        await service.ready(START_S)
        await scene.cluster.recovered()


async def soak(scene: Scene) -> None:
    """Nothing fails for a long time but one process each minute, of any kind, which is asked to stop."""

    async def restart(minute: int) -> None:
        await scene.cluster.restart(scene.cluster.hosted[scene.chance.choice(NAMES)])

    before = scene.cluster.resident()
    await scene.every_minute(restart)
    after = scene.cluster.resident()
    scene.say("MiB before and after: " + ", ".join(f"{name} {before[name]} {after[name]}" for name in before))
