"""Which outbound proxy a deployment's calls take: its list rotates by interval, all replicas in step."""

import time
from collections.abc import Callable

from services.chassis.deployments import Deployment


class Proxies:
    """Chooses by the clock, so that nothing needs to be remembered or shared."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def of(self, deployment: Deployment) -> str:
        """The proxy's URL for a call made now; empty for a direct connection."""
        if not deployment.proxies:
            return ""
        turn = int(self._clock() // deployment.proxy_interval_s)
        return deployment.proxies[turn % len(deployment.proxies)]
