"""What becomes of requests in minutes of a clock that is counted on, not waited for."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from services.gateway.limits.fair_share import FairShare, State, Ticket
from services.gateway.limits.patience import USUAL, Patience

# A power of two, so that steps add up exactly.
STEP_S = 1 / 16
MOST = 512


@dataclass
class Counts:
    """What became of a tenant's requests, with the seconds that each has waited."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


class Scene:
    """A FairShare, its tenants' requests, and a clock."""

    def __init__(self, patience: Patience) -> None:
        self.shares = FairShare(MOST, patience)
        self.now = 0.0
        self.counts: dict[str, Counts] = defaultdict(Counts)
        self._waiting: dict[Ticket, float] = {}
        self._ends: dict[Ticket, float] = {}
        self._lasting: dict[Ticket, float] = {}

    def ask(self, tenant: str, lasting_s: float) -> None:
        """Send a request that takes so long once it runs."""
        ticket = self.shares.enter(tenant, 1, self.now, lambda: None)
        if ticket is None:
            self.counts[tenant].refused.append(0.0)
            return
        self._lasting[ticket], self._waiting[ticket] = lasting_s, self.now
        self._follow()

    def step(self) -> None:
        """Let time pass: some end, and others have waited enough."""
        self.now += STEP_S
        for ticket in [one for one, end in self._ends.items() if end <= self.now]:
            del self._ends[ticket]
            self.shares.leave(ticket)
        self._follow()
        for ticket in [one for one in self._waiting if one.until <= self.now]:
            self.shares.leave(ticket)
        self._follow()

    def _follow(self) -> None:
        for ticket in [one for one in self._waiting if one.state is not State.WAITING]:
            waited, counts = self.now - self._waiting.pop(ticket), self.counts[ticket.tenant]
            if ticket.state is State.RUNNING:
                counts.served.append(waited)
                self._ends[ticket] = self.now + self._lasting[ticket]
            else:
                counts.refused.append(waited)


@pytest.mark.parametrize(("patience", "refused"), [(USUAL, 0), (Patience(young_s=0), 64 - 15)])
def test_four_seconds_without_slots_refuse_nobody(patience: Patience, refused: int) -> None:
    scene = Scene(patience)
    scene.shares.limit = 16
    for _ in range(16):
        scene.ask("one", 60)

    for i in range(160):
        if i == 64:
            scene.shares.limit = 64
        scene.ask("one", 0.25)
        scene.step()

    seen = scene.counts["one"]
    assert 16 + 160 == len(seen.served) + len(seen.refused)
    assert refused == len(seen.refused)
    assert max(seen.served) <= 4 + STEP_S


def test_a_flood_waits_for_long_only_at_its_beginning_and_then_is_mostly_refused_at_once() -> None:
    scene = Scene(USUAL)
    scene.shares.limit = 40
    longest = 0

    # 160 a second go through; the greedy tenant sends five times as many, and a modest one 16.
    for _ in range(int(60 / STEP_S)):
        for _ in range(50):
            scene.ask("greedy", 0.25)
        scene.ask("modest", 0.25)
        scene.step()
        if scene.now < USUAL.young_s:
            longest = max(longest, scene.shares.waiting)
        if scene.now > USUAL.young_s + USUAL.standing_s:
            assert scene.shares.waiting <= 2 * 40

    assert MOST == longest
    greedy, modest = scene.counts["greedy"], scene.counts["modest"]
    assert not modest.refused
    assert 0 == max(modest.served)
    # All slots were used all the time.
    assert 160 * 60 <= len(greedy.served) + len(modest.served)
    assert max(greedy.served + greedy.refused) <= USUAL.young_s + STEP_S
    late = greedy.served[-1000:]
    assert max(late) <= USUAL.standing_s + STEP_S
    at_once = sum(1 for waited in greedy.refused if waited == 0)
    assert at_once > 0.9 * len(greedy.refused)
