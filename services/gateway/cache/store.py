"""The cached answers in Redis: found, made by one request at a time, kept within bounds, purged.

Redis is asked once for all requests that arrive meanwhile, and told in the background what came of those that made an
answer. While it does not answer there is no cache, and nothing fails.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import prometheus_client

from services.chassis import background, errors, redis, redis_keys
from services.chassis.backlog import Backlog
from services.chassis.batching import Batcher
from services.chassis.outage import Outage
from services.gateway.cache import scripts
from services.gateway.cache.answer_key import AnswerKey
from services.gateway.cache.semantic.same_question import Reading
from services.gateway.cipher import Cipher, UnreadableError
from services.gateway.limits.scripts import Count

log = logging.getLogger(__name__)

# Separates what is sealed here from all else that is sealed under the same secret.
PURPOSE = b"lumni cached answers v1"
# For how long one request alone makes an answer, and how often it says that it still does, in seconds: when its gateway
# dies, another goes on after the first.
LEASE_S = 6.0
RENEWED_S = 2.0
# What one round trip asks for; each answer has the bytes of `LUMNI_CACHE_ANSWER_KIB` at most.
BATCH = 32
# Answers that wait for Redis; the oldest is given up for a new one.
MOST_PENDING = 256
# Up to this size, in bytes, sealing takes less than a millisecond; beyond it a thread does it.
AT_ONCE = 64 * 1024
# Answers that one call of the purging script forgets; Redis does nothing else meanwhile.
PURGED_AT_ONCE = 500
# Questions that a new one is compared with: reading them takes Redis and the gateway below a millisecond.
MOST_QUESTIONS = 200
EVERYBODY = "all"
NOT_COUNTED = Count("", b"")

BYTES = prometheus_client.Gauge(
    "lumni_gateway_cache_bytes",
    "What all cached answers take in Redis, as of the last one.",
    multiprocess_mode="mostrecent",
)
EVICTED = prometheus_client.Counter(
    "lumni_gateway_cache_evictions", "Cached answers that made room for newer ones."
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bytes of one answer, of one tenant's and of all; and how long a request lasts, in seconds."""

    answer: int
    tenant: int
    total: int
    request_s: float


@dataclass(frozen=True, slots=True)
class Looked:
    """What Redis has: the text of an answer, the lead in making it, the token of who leads, or nothing.

    `now_ms` is Redis' clock, and set with a text; `counted` is what `Limits.counted` reads, where that was asked.
    """

    text: bytes | None = None
    now_ms: int = 0
    counted: bytes = b""
    leads: bool = False
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A last message, what it is about, how it is read, and the digest of all else of its request."""

    partition: str
    about: bytes
    text: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Listed:
    """A question whose answer is kept: the digest of that, and what it is about."""

    digest: str
    about: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer to be kept for some time, and when its request was admitted, by Redis' clock.

    With a question it is found by others that say the same, too.
    """

    text: bytes
    ttl_s: int
    admitted_unix_ms: int
    question: Question | None = None


class _Asked(NamedTuple):
    """What is looked up, by whom, and what counts that request."""

    key: AnswerKey
    token: str
    counting: Count


@dataclass(frozen=True, slots=True)
class _Ended:
    """A request that made an answer, or did not."""

    key: AnswerKey
    token: str
    kept: Kept | None


class AnswerStore:
    """Answers by their keys."""

    def __init__(self, client: redis.Redis, cipher: Cipher, bounds: Bounds) -> None:
        """Keep answers in `client`.

        Args:
            client: Short deadlines are its connection's business.
            cipher: Encrypts them.
            bounds: How much is kept.
        """
        self._redis = client
        self._cipher = cipher
        self._bounds = bounds
        self._outage = Outage(log, "the response cache is off", "the response cache is on again")
        # Its own: where a server refuses what questions alone need, equal requests are answered all the same.
        self._questions_outage = Outage(
            log, "questions that say the same are not found", "questions that say the same are found again"
        )
        self._ended: Backlog[_Ended] = Backlog(self._tell, batch=BATCH, most=MOST_PENDING)
        # The answers that requests of this process make: token by key.
        self._led: dict[AnswerKey, str] = {}
        self._asked: Batcher[_Asked, Looked] = Batcher(
            self._ask, BATCH, lambda asked: self.finish(asked.key, asked.token)
        )

    @property
    def most_recorded(self) -> int:
        """The most characters of an answer that are worth collecting: compressed, a quarter of them is left at most."""
        return self._bounds.answer * 4

    async def look_up(self, key: AnswerKey, token: str, count: Count | None = None) -> Looked | None:
        """What there is; None where Redis does not say.

        Args:
            key: Of the answer.
            token: Of the request that makes the answer if nobody does; empty for one that does not.
            count: What counts the request when there is an answer; None where it is counted by itself.
        """
        if self._outage.resting:
            return None
        try:
            looked = await self._asked(_Asked(key, token, count or NOT_COUNTED))
        except redis.ERRORS as error:
            self._outage.begin(error)
            # The lead may have been given all the same, and only the answer be lost.
            self.finish(key, token)
            return None
        self._outage.end()
        if looked.leads:
            self._led[key] = token
        return looked

    async def read(self, key: AnswerKey, text: bytes) -> bytes:
        """An answer as it was kept.

        Raises:
            UnreadableError: it was changed, or kept under another secret.
        """
        if len(text) > AT_ONCE:
            return await asyncio.to_thread(self._cipher.open, text, key.digest)
        return self._cipher.open(text, key.digest)

    async def questions(self, partition: str) -> list[Listed]:
        """The questions of a partition whose answers are kept; none where Redis does not say."""
        found = await self._of_questions(lambda: self._redis.hgetall(redis_keys.CACHE_QUESTIONS + partition))
        listed = ((redis.text(digest), question) for digest, question in (found or {}).items())
        abouts = [
            (digest, self._opened(question.partition(b":")[2], _about(digest))) for digest, question in listed
        ]
        return [Listed(digest, about) for digest, about in abouts if about is not None]

    async def texts(self, partition: str, digests: Sequence[str]) -> list[str | None]:
        """The texts of a partition's questions by the digests of their answers; None for one that cannot be read."""
        key = redis_keys.CACHE_QUESTION_TEXTS + partition
        found = await self._of_questions(lambda: self._redis.hmget(key, list(digests))) or [None] * len(
            digests
        )
        opened = (
            self._opened(text, _text(digest)) if text is not None else None
            for digest, text in zip(digests, found, strict=True)
        )
        return [None if text is None else text.decode("utf-8", "replace") for text in opened]

    async def _of_questions(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis says of questions; None where it does not."""
        if self._questions_outage.resting:
            return None
        try:
            found = await ask()
        except redis.ERRORS as error:
            self._questions_outage.begin(error)
            return None
        self._questions_outage.end()
        return found

    def _opened(self, sealed: bytes, place: str) -> bytes | None:
        try:
            return self._cipher.open(sealed, place)
        except UnreadableError:
            return None

    def finish(self, key: AnswerKey, token: str, kept: Kept | None = None) -> None:
        """Give up the lead, if there was one, and keep the answer, if there is one; returns at once."""
        if self._led.get(key) == token:
            del self._led[key]
        if token or kept is not None:
            self._ended.append(_Ended(key, token, kept))

    async def purge(self, tenant: str | None) -> int:
        """Forget a tenant's answers, or all, those included that are being made; how many there were.

        Raises:
            Unavailable: Redis does not answer; some may be forgotten.
        """
        purged = 0
        arguments = (tenant or EVERYBODY, PURGED_AT_ONCE, int(self._bounds.request_s * 1000))
        try:
            while True:
                found = int(await scripts.PURGE.run(self._redis, scripts.NAMED, arguments))
                purged += found
                if found < PURGED_AT_ONCE:
                    return purged
        except redis.ERRORS as error:
            raise errors.Unavailable(
                "cached answers cannot be purged at the moment", reason="CACHE_UNAVAILABLE", retry_after_s=1
            ) from error

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Tell Redis in the background until the block ends, then what is left within a second."""
        async with self._ended.delivering(), background.beside(self._renew()):
            yield

    async def _ask(self, asked: Sequence[_Asked]) -> list[Looked | Exception]:
        calls = [
            (scripts.NAMED, (key.digest, token, int(LEASE_S * 1000), *counting))
            for key, token, counting in asked
        ]
        answers = await scripts.LOOK_UP.run_all(self._redis, calls)
        return [answer if isinstance(answer, Exception) else _looked(answer) for answer in answers]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_S)
            if not self._led:
                continue
            calls = [
                (scripts.NAMED, (key.digest, token, int(LEASE_S * 1000))) for key, token in self._led.items()
            ]
            try:
                await scripts.RENEW.run_all(self._redis, calls)
            except redis.ERRORS as error:
                self._outage.begin(error)

    async def _tell(self, batch: Sequence[_Ended]) -> bool:
        calls = [(scripts.NAMED, await self._arguments(ended)) for ended in batch]
        try:
            answers = await scripts.FINISH.run_all(self._redis, calls)
        except redis.ERRORS as error:
            # An answer that is not kept costs money again, and nothing else; who waits for it soon makes it himself.
            self._outage.begin(error)
            return True
        for answer in answers:
            if isinstance(answer, Exception):
                log.error("an answer could not be cached: %s", answer)
            else:
                BYTES.set(answer[0])
                EVICTED.inc(answer[1])
        return True

    async def _arguments(self, ended: _Ended) -> tuple[str | bytes | int, ...]:
        key, kept, bounds = ended.key, ended.kept, self._bounds
        text, ttl_ms, admitted_ms, partition, about, question = b"", 0, 0, "", b"", b""
        if kept is not None:
            ttl_ms, admitted_ms = kept.ttl_s * 1000, kept.admitted_unix_ms
            # zlib and the cipher let the loop go on meanwhile.
            text = (
                await asyncio.to_thread(self._cipher.seal, kept.text, key.digest)
                if len(kept.text) > AT_ONCE
                else self._cipher.seal(kept.text, key.digest)
            )
            if len(text) > bounds.answer:
                text = b""
            if kept.question is not None:
                partition = kept.question.partition
                about = self._cipher.seal(kept.question.about, _about(key.digest))
                question = self._cipher.seal(kept.question.text.encode("utf-8", "replace"), _text(key.digest))
        return (
            *(key.digest, ended.token, key.tenant, text, ttl_ms, admitted_ms, bounds.tenant, bounds.total),
            *(partition, about, question, MOST_QUESTIONS),
        )


def _about(digest: str) -> str:
    """Where it is sealed what a question is about: not where its answer is."""
    return f"{digest}/about"


def _text(digest: str) -> str:
    """Where the text of a question is sealed."""
    return f"{digest}/question"


def _looked(answer: Sequence[Any]) -> Looked:
    match redis.text(answer[0]):
        case "answer":
            return Looked(text=answer[1], now_ms=int(answer[2]), counted=answer[3])
        case "lead":
            return Looked(leads=True)
        case "wait":
            return Looked(leader=redis.text(answer[1]))
        case _:
            return Looked()
