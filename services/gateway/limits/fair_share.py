"""Fair shares of concurrent work: which requests run, which wait, and which are refused when more come than fit.

At most `limit` requests run at once. While there is room everybody may use it, so a lone tenant may use all of it, up
to a limit of what one tenant runs, which is lowered while the work of one delays others. When there is no room,
requests wait in a queue for each tenant, and a slot that becomes free goes to the waiting tenant that runs the fewest
for its weight: weighted max-min fairness. No request is ever stopped for another, so a tenant below its share does not
wait until others, who took the room or saw the limit fall, are down to theirs: it goes on beyond the limit, up to a
reserve above the most the limit can be. As many wait as may ever run; beyond that the tenant with the longest queue
loses its newest request, so nobody fills the queue for others. A tenant whose queue does not become empty
may hold only as many in it as may run now, and each waits only briefly (`patience`).

Nothing here waits or looks at a clock: whoever comes is told until when to wait, and says what time it is.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from services.gateway.limits.patience import Patience

# For tenants below their share there is this part more than the most the limit can be.
RESERVE = 1 / 8
# Several tenants count as present for so long after a request of one came after one of another, in seconds.
SHARED_S = 1.0


class State(Enum):
    """Where a request stands."""

    WAITING = auto()
    RUNNING = auto()
    OVER = auto()


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that runs, or waits to."""

    tenant: str
    # Called once if it had to wait, when it runs, or is over because its place in the queue was taken.
    decided: Callable[[], None]
    state: State = State.WAITING
    # When it has waited enough, in seconds of the caller's clock; for those that have to wait.
    until: float = 0.0


@dataclass(slots=True)
class _Tenant:
    """The requests of one tenant, present while it has any."""

    weight: int
    running: int = 0
    queue: deque[Ticket] = field(default_factory=deque)
    # When the first request came that found no slot since the queue was last served empty; giving up empties it, too,
    # and says nothing. The age is lost where a tenant that runs nothing gives all up, as it is forgotten, and where it
    # gives up all but one, when that one runs. Either way only its own requests wait for longer, in a queue from which
    # shorter ones take room: not worth remembering tenants, or who gave up.
    queue_since: float | None = None

    def with_one_more(self) -> float:
        """The requests it would run for its weight if it got one more slot."""
        return (self.running + 1) / self.weight


class FairShare:
    """Shares a limited number of slots among tenants; all methods return at once."""

    def __init__(self, most: int, patience: Patience) -> None:
        """Begin without requests.

        Args:
            most: The most that the limits can be, and the limits until others are set.
            patience: How long requests wait.
        """
        self._most = self._limit = self._limit_of_one = most
        self._patience = patience
        self._with_reserve = most + math.ceil(most * RESERVE)
        # At most one for each request that runs or waits: a tenant without any is forgotten.
        self._tenants: dict[str, _Tenant] = {}
        # Those of them that wait; of equals the first comes first, and whoever was served goes to the end.
        self._waiting: dict[str, _Tenant] = {}
        self._weights = 0
        # Whose request came last, and when it last was another tenant's than the one before.
        self._newest = ""
        self._changed_at = -math.inf
        self.running = 0
        self.waiting = 0

    @property
    def limit(self) -> int:
        """How many requests run at once, besides those of tenants below their share."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._serve()

    @property
    def limit_of_one(self) -> int:
        """How many requests of one tenant run at once, for its weight."""
        return self._limit_of_one

    @limit_of_one.setter
    def limit_of_one(self, limit: int) -> None:
        self._limit_of_one = limit
        self._serve()

    def largest(self) -> int:
        """How many requests of one tenant run for its weight, of the one with the most."""
        return max((tenant.running // tenant.weight for tenant in self._tenants.values()), default=0)

    def enter(self, name: str, weight: int, now: float, decided: Callable[[], None]) -> Ticket | None:
        """Let a request run or wait; None refuses it.

        Args:
            name: Of the tenant.
            weight: Of the tenant, at least 1; the newest counts.
            now: By the clock of the caller, in seconds.
            decided: Called when the wait of a request that does not run yet is over.
        """
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(weight)
            self._weights += weight
        elif tenant.weight != weight:
            self._weights += weight - tenant.weight
            tenant.weight = weight
        if name != self._newest:
            self._changed_at = now if self._newest else -math.inf
            self._newest = name
        ticket = Ticket(name, decided)
        # Its own requests that wait already come first.
        if not tenant.queue and self._has_room(tenant):
            self._run(tenant, ticket)
        elif self._has_queue_room(tenant, now):
            if tenant.queue_since is None:
                tenant.queue_since = now
            ticket.until = self._patience.until(tenant.queue_since, now)
            tenant.queue.append(ticket)
            self._waiting[name] = tenant
            self.waiting += 1
        else:
            self._forget_if_idle(name, tenant)
            return None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """End a request: one that ran frees its slot, one that waited gives up; nothing if it is over."""
        if ticket.state is State.OVER:
            return
        tenant = self._tenants[ticket.tenant]
        if ticket.state is State.RUNNING:
            tenant.running -= 1
            self.running -= 1
        else:
            self._dequeue(tenant, ticket)
        ticket.state = State.OVER
        self._forget_if_idle(ticket.tenant, tenant)
        self._serve()

    def refuses(self, name: str, now: float) -> bool:
        """Whether one more request of a tenant that has requests waiting would be refused."""
        tenant = self._waiting.get(name)
        if tenant is None:
            return False
        if self._is_full(tenant, now):
            return True
        return self.waiting >= self._most and not self._has_shorter_queue(tenant, self._longest()[1])

    def is_shared(self, now: float) -> bool:
        """Whether requests of several tenants come."""
        return now < self._changed_at + SHARED_S

    def is_at_share(self, name: str) -> bool:
        """Whether a tenant runs as many requests as it may when all that are here want more."""
        tenant = self._tenants.get(name)
        return tenant is not None and tenant.running >= int(self._share(tenant))

    def _share(self, tenant: _Tenant) -> float:
        return max(1.0, tenant.weight * min(self._limit / self._weights, self._limit_of_one))

    def _has_room(self, tenant: _Tenant) -> bool:
        if tenant.with_one_more() > self._limit_of_one:
            return False
        if self.running < self._limit:
            return True
        return self.running < self._with_reserve and tenant.running + 1 <= self._share(tenant)

    def _is_full(self, tenant: _Tenant, now: float) -> bool:
        """Whether a tenant's queue stands, and is as long as one that stands may be."""
        longest = min(self._limit, tenant.weight * self._limit_of_one)
        if tenant.queue_since is None or len(tenant.queue) < longest:
            return False
        return self._patience.is_over(tenant.queue_since, now)

    def _has_queue_room(self, tenant: _Tenant, now: float) -> bool:
        """Whether one more request of a tenant may wait, in place of another tenant's if need be."""
        if self._is_full(tenant, now):
            return False
        if self.waiting < self._most:
            return True
        name, longest = self._longest()
        if not self._has_shorter_queue(tenant, longest):
            return False
        newest = longest.queue[-1]
        self._dequeue(longest, newest)
        newest.state = State.OVER
        self._forget_if_idle(name, longest)
        newest.decided()
        return True

    def _longest(self) -> tuple[str, _Tenant]:
        """Of the tenants that wait, the one with the longest queue for its weight."""
        return max(self._waiting.items(), key=lambda item: len(item[1].queue) / item[1].weight)

    def _has_shorter_queue(self, tenant: _Tenant, longest: _Tenant) -> bool:
        return (len(tenant.queue) + 1) / tenant.weight < len(longest.queue) / longest.weight

    def _serve(self) -> None:
        """Give free slots to those who wait."""
        while self._waiting:
            name, tenant = min(self._waiting.items(), key=lambda item: item[1].with_one_more())
            if not self._has_room(tenant):
                return
            ticket = tenant.queue[0]
            self._dequeue(tenant, ticket)
            if tenant.queue:
                self._waiting[name] = self._waiting.pop(name)
            self._run(tenant, ticket)
            ticket.decided()

    def _run(self, tenant: _Tenant, ticket: Ticket) -> None:
        ticket.state = State.RUNNING
        if not tenant.queue:
            tenant.queue_since = None
        tenant.running += 1
        self.running += 1

    def _dequeue(self, tenant: _Tenant, ticket: Ticket) -> None:
        tenant.queue.remove(ticket)
        self.waiting -= 1
        if not tenant.queue:
            del self._waiting[ticket.tenant]

    def _forget_if_idle(self, name: str, tenant: _Tenant) -> None:
        if not tenant.running and not tenant.queue:
            del self._tenants[name]
            self._weights -= tenant.weight
