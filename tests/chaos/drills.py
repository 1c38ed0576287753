"""All drills by name, and the rates of those that have their own."""

from collections.abc import Mapping

from tests.chaos import clocks, links, restarts
from tests.chaos.scene import Drill

DRILLS: Mapping[str, Drill] = {
    "rolling-restart": restarts.rolling_restart,
    "executors-terminated": restarts.executors_terminated,
    "executors-killed": restarts.executors_killed,
    "killed": restarts.killed_in_turn,
    "frozen": restarts.frozen_in_turn,
    "crashing-version": restarts.crashing_version,
    "failing-version": restarts.failing_version,
    "executor-apart": links.from_one_executor,
    "deciders-apart": links.from_deciders,
    "valkey-apart": links.from_valkey,
    "postgres-apart": links.from_postgres,
    "gateway-alone": links.one_gateway_alone,
    "delay": links.delay,
    "loss": links.loss,
    "clock-steps": clocks.steps,
    "soak": restarts.soak,
}
# Requests a minute, and streams held, of drills that have their own.
OWN: Mapping[str, tuple[float, int]] = {"executors-terminated": (2000, 5), "executors-killed": (2000, 5)}
