"""Counts of one process, for the time in which Redis cannot count for all of them."""

import time
from collections import OrderedDict
from collections.abc import Sequence

from services.gateway.keys.permissions import Subject
from services.gateway.limits.headers import Allowance
from services.gateway.limits.refusal import Refusal

# Subjects that are counted, the newest of them.
COUNTED = 100_000


class LocalCounts:
    """Requests and tokens per window, by subject; parallel requests and money are not counted here."""

    def __init__(self, window_s: float) -> None:
        """Count in fixed windows of so many seconds."""
        self._window_s = window_s
        # By subject: the window, and the requests and tokens in it.
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def count(self, subjects: Sequence[Subject], tokens: int) -> Refusal | None:
        """Count a request of so many tokens for all subjects, or for none when one has too little left."""
        now = time.monotonic()
        window, left_ms = int(now // self._window_s), (self._window_s - now % self._window_s) * 1000
        counted: list[tuple[str, int, int]] = []
        for subject in subjects:
            if not subject.rate.limited:
                continue
            last, requests, used = self._counts.get(subject.name, (window, 0, 0))
            if last != window:
                requests = used = 0
            for kind, limit, before, more in (
                ("requests", subject.rate.rpm, requests, 1),
                ("tokens", subject.rate.tpm, used, tokens),
            ):
                if limit and before + more > limit:
                    allowance = Allowance(limit=limit, remaining=max(0, limit - before))
                    return Refusal(
                        subject=subject.name,
                        kind=kind,
                        limit=limit,
                        retry_ms=left_ms,
                        reset_ms=left_ms,
                        requests=allowance if kind == "requests" else None,
                        tokens=allowance if kind == "tokens" else None,
                    )
            counted.append((subject.name, requests + 1, used + tokens))
        for name, requests, used in counted:
            self._counts[name] = (window, requests, used)
            self._counts.move_to_end(name)
        while len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        return None
