"""How a process stops that others send requests to."""

from dataclasses import dataclass


@dataclass(slots=True)
class Draining:
    """For a while it goes on taking requests, and tells balancers that they should turn to other replicas."""

    # How long, in seconds.
    delay_s: float = 0.0
    # Whether the process was asked to stop.
    begun: bool = False
