"""Which requests may be answered from the cache, and which of equal requests makes the answer for all.

Of equal requests that come at once, on whatever gateway, one makes the answer and the others wait for it. They look
again and again instead of being told: that needs no connection of its own, and finds out in the same way that the
answer is there, that nobody makes it any more, or that its gateway died.
"""

import asyncio
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType

import prometheus_client
from google.protobuf.message import DecodeError
from lumni.events.v1 import events_pb2

from services.chassis.money import usd
from services.gateway.cache.answer_key import AnswerKey, AnswerKeys
from services.gateway.cache.similar_questions import SimilarQuestions
from services.gateway.cache.store import AnswerStore, Kept, Looked, Question
from services.gateway.cipher import UnreadableError
from services.gateway.keys.permissions import Caller
from services.gateway.limits.scripts import Count
from services.gateway.requests.model_request import ModelRequest

log = logging.getLogger(__name__)

# A request looks again after a tenth of the time that it has waited, within these bounds in seconds: so it waits little
# longer than it must, and a long wait costs few commands.
SHORTEST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25
# So many others one request waits for, should they fail one after the other; then all that wait go on by themselves.
MOST_LEADERS = 2
# The longest body, in bytes, whose last message is compared with others: to name its partition, it is serialized again.
MOST_COMPARED = 64 * 1024

LOOKUPS = prometheus_client.Counter(
    "lumni_gateway_cache_lookups",
    "Requests that an earlier answer might do for, by what was found.",
    ["result"],
)
SAVED = prometheus_client.Counter(
    "lumni_gateway_cache_saved_usd", "What answers from the cache had cost when a provider made them."
)


class Recording:
    """Keeps the answer that a request makes; when its block ends without one, somebody else may make it.

    Args:
        store: Where it is kept; None keeps nothing.
        key: By which it is found.
        token: Of the request, if others wait for it.
        ttl_s: For how long it is kept; 0 is not at all.

    Attributes:
        pieces: The answer, or the chunks of a stream, as far as they came; none where nothing is kept.
        question: What finds the answer for others that say the same; None where nothing does.

    """

    def __init__(
        self, store: AnswerStore | None = None, key: AnswerKey | None = None, token: str = "", ttl_s: int = 0
    ) -> None:
        self._store = store
        self._key = key
        self._token = token
        self._ttl_s = ttl_s
        self._left = store.most_recorded if store is not None and ttl_s else 0
        self._ended = False
        self.pieces: list[str] = []
        self.question: Question | None = None

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(None)

    @property
    def whole(self) -> bool:
        """Whether every piece was recorded."""
        return self._left > 0

    def add(self, piece: str) -> None:
        """Record a piece; none any more once they are too long together."""
        if self._left > 0:
            self._left -= len(piece)
            self.pieces.append(piece)
        if self._left <= 0:
            self.pieces.clear()

    def keep(self, answer: events_pb2.CachedAnswer) -> None:
        """Keep the whole answer; returns at once."""
        # Without the moment by Redis' clock nobody could say how old it is.
        if answer.made_unix_ms:
            self._end(Kept(answer.SerializeToString(), self._ttl_s, answer.made_unix_ms, self.question))

    def _end(self, kept: Kept | None) -> None:
        if self._store is not None and self._key is not None and not self._ended:
            self._ended = True
            self._store.finish(self._key, self._token, kept)


@dataclass(frozen=True, slots=True)
class Hit:
    """An earlier answer, its age in seconds, and whether the same was asked in other words.

    `counted` is as in `Looked`.
    """

    answer: events_pb2.CachedAnswer
    age_s: int
    counted: bytes = b""
    semantic: bool = False

    @property
    def result(self) -> str:
        """What it is called: hit or semantic."""
        return "semantic" if self.semantic else "hit"


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache says of a request.

    Attributes:
        result: hit, semantic, miss or bypass; empty where no earlier answer would do.
        hit: The earlier answer.
        recording: Keeps the new one.

    """

    result: str
    recording: Recording
    hit: Hit | None = None


class ResponseCache:
    """Looks earlier answers up, and keeps new ones."""

    def __init__(
        self,
        store: AnswerStore,
        keys: AnswerKeys,
        *,
        ttl_s: int,
        wait_s: float,
        similar: SimilarQuestions | None = None,
    ) -> None:
        """Look answers up in `store`.

        Args:
            store: Where they are.
            keys: By what they are found.
            ttl_s: For how long an answer may be given again, where a plan says nothing.
            wait_s: How long a request waits for an equal one that is under way.
            similar: Finds questions that say the same; None where only equal ones are answered.
        """
        self._store = store
        self._keys = keys
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._similar = similar

    def kept_for(self, caller: Caller, request: ModelRequest) -> int:
        """For how many seconds an answer to a request may be given again; 0 where none may."""
        wishes = request.cache
        # An answer that the provider is to keep must be made there.
        if not request.cacheable or request.body.get("store"):
            return 0
        if not (request.deterministic or wishes.opted_in):
            return 0
        allowed = self._ttl_s if caller.plan.cache_ttl_s is None else caller.plan.cache_ttl_s
        return allowed if wishes.ttl_s is None else min(allowed, wishes.ttl_s)

    async def find(
        self,
        caller: Caller,
        request: ModelRequest,
        policy: bytes,
        token: str,
        ttl_s: int,
        count: Count | None = None,
        *,
        only_equal: bool = False,
    ) -> Found:
        """An earlier answer; or nothing, and how to keep the new one.

        Args:
            caller: Who asks.
            request: What for.
            policy: As in `AnswerKeys.of`.
            token: The id of the request.
            ttl_s: What `kept_for` says of the request, above 0.
            count: What counts the request in the step that finds an answer; None where it is counted by itself.
            only_equal: Its last message decides on more than the answer, so that only an equal request may have it.
        """
        key = await self._keys.of(caller, request, policy)
        found = await self._found(key, request, token, ttl_s, count)
        if not only_equal and key.body_bytes <= MOST_COMPARED and _compared(caller, request, found):
            found = await self._semantic(caller, request, policy, found)
        if found.result:
            LOOKUPS.labels(found.result).inc()
        if found.hit is not None:
            SAVED.inc(usd(found.hit.answer.report.cost_nano_usd))
        return found

    async def purge(self, tenant: str | None) -> int:
        """Forget the answers of a tenant, or all; how many there were.

        Raises:
            Unavailable: Redis does not answer.
        """
        return await self._store.purge(None if tenant is None else self._keys.tenant(tenant))

    async def _found(
        self, key: AnswerKey, request: ModelRequest, token: str, ttl_s: int, count: Count | None
    ) -> Found:
        wishes = request.cache
        if wishes.max_age_s is not None:
            # What is found may be too old, and the request be admitted with what it costs.
            count = None
        kept_s = 0 if wishes.no_store else ttl_s
        unshared = Recording(self._store, key, ttl_s=kept_s)
        if wishes.no_cache:
            return Found("bypass", unshared)
        began = time.monotonic()
        leaders: set[str] = set()
        while True:
            looked = await self._store.look_up(key, token if kept_s else "", count)
            if looked is None:
                return not_cached()
            if looked.text is not None:
                hit = await self._hit(key, looked)
                if hit is not None and _is_fresh(hit, request):
                    return Found(hit.result, not_recorded(), hit)
                return Found("miss", unshared)
            if looked.leads:
                return Found("miss", Recording(self._store, key, token, kept_s))
            leaders.add(looked.leader)
            waited_s = time.monotonic() - began
            if not kept_s or len(leaders) > MOST_LEADERS or waited_s >= self._wait_s:
                return Found("miss", unshared)
            await asyncio.sleep(min(max(waited_s / 10, SHORTEST_PAUSE_S), LONGEST_PAUSE_S))

    async def _semantic(self, caller: Caller, request: ModelRequest, policy: bytes, missed: Found) -> Found:
        """The answer to a question that says the same, unless a new one is wished; or the new one will be found so."""
        if self._similar is None:
            return missed
        with ExitStack() as ends:
            # Whoever waits for this request goes on when it has an answer from here, or ends in here.
            ends.enter_context(missed.recording)
            question = await self._similar.question(caller, request, policy)
            if question is not None and missed.result == "miss":
                for key in await self._similar.same(question, self._keys.tenant(caller.tenant)):
                    looked = await self._store.look_up(key, "")
                    hit = await self._hit(key, looked) if looked is not None and looked.text else None
                    if hit is not None and _is_fresh(hit, request):
                        hit = replace(hit, semantic=True)
                        return Found(hit.result, not_recorded(), hit)
            missed.recording.question = question
            ends.pop_all()
        return missed

    async def _hit(self, key: AnswerKey, looked: Looked) -> Hit | None:
        answer = events_pb2.CachedAnswer()
        try:
            answer.ParseFromString(await self._store.read(key, looked.text or b""))
        except (UnreadableError, DecodeError):
            log.warning("a cached answer cannot be read, and is made anew")
            return None
        return Hit(answer, max(0, looked.now_ms - answer.made_unix_ms) // 1000, looked.counted)


def _is_fresh(hit: Hit, request: ModelRequest) -> bool:
    return request.cache.max_age_s is None or hit.age_s <= request.cache.max_age_s


def _compared(caller: Caller, request: ModelRequest, found: Found) -> bool:
    """Whether others may be answered by it, or it by theirs: the plan allows that, and the request does not refuse."""
    made = found.result == "miss" or (found.result == "bypass" and not request.cache.no_store)
    return made and caller.plan.semantic_cache and request.cache.semantic is not False


def not_recorded() -> Recording:
    """What keeps nothing."""
    return Recording()


def not_cached() -> Found:
    """What is said of a request that no earlier answer would do for."""
    return Found("", not_recorded())
