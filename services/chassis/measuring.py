"""What is measured: in this process, or in all workers together where several serve on the same ports."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client import multiprocess

# The folder in which workers measure together; the client reads this variable when it is imported.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# Seconds between looks at what followed gauges show, where another process is asked for it.
SAMPLE_S = 1.0

_followed: dict[prometheus_client.Gauge, Callable[[], float]] = {}


def is_shared() -> bool:
    """Whether this process is one of several workers that measure together, or shows what they measure."""
    return bool(os.environ.get(FOLDER))


def registry() -> prometheus_client.CollectorRegistry:
    """What to show Prometheus."""
    if not is_shared():
        return prometheus_client.REGISTRY
    found = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(found)  # type: ignore[no-untyped-call]
    return found


def follow(gauge: prometheus_client.Gauge, value: Callable[[], float]) -> None:
    """Have a gauge show what `value` returns when it is asked; among workers, what it returned within `SAMPLE_S`."""
    if is_shared():
        _followed[gauge] = value
    else:
        gauge.set_function(value)


@contextmanager
def sampling() -> Iterator[None]:
    """Until the block ends, keep followed gauges up to date where another process is asked for them."""
    if not is_shared():
        yield
        return
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_S):
            for gauge, value in list(_followed.items()):
                gauge.set(value())

    thread = threading.Thread(target=sample, name="sampling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
