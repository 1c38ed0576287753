"""What an answer is found by: a digest of all that it depends on."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from services.chassis import measured_scores, offload
from services.chassis.watch import Watch
from services.gateway.cipher import derived_key
from services.gateway.keys.permissions import Caller
from services.gateway.requests.model_request import ModelRequest

# The files of the configuration that a choice of a model depends on; one that is not there is an empty one.
DECIDING = ("litellm_config.yaml", "lumni.yaml", measured_scores.FILE)
# Separates this use of the secret from any other; another one where what is digested, or what is kept, changes.
PURPOSE = b"lumni cache keys v1"


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """The digest of a request, and that of the tenant whose it is; beside them the bytes of the request's body."""

    digest: str
    tenant: str
    body_bytes: int = field(default=0, compare=False)


class ConfigurationVersion:
    """A digest of the files that decide who answers, taken anew when one of them changes."""

    def __init__(self, folder: Path) -> None:
        self._paths = tuple(folder / name for name in DECIDING)
        self._watch = Watch(*self._paths)
        self._digest = self._read()

    @property
    def current(self) -> bytes:
        """The digest of the files as they are."""
        if self._watch.changed():
            self._digest = self._read()
        return self._digest

    def _read(self) -> bytes:
        digest = hashlib.sha256()
        for path in self._paths:
            # While a file is being replaced there may be none.
            text = path.read_bytes() if path.exists() else b""
            digest.update(len(text).to_bytes(8) + text)
        return digest.digest()


class AnswerKeys:
    """Makes keys under a secret, so that Redis alone does not tell whether somebody asked a guessed question."""

    def __init__(self, secret: str, version: ConfigurationVersion) -> None:
        self._secret = derived_key(secret, PURPOSE)
        self._version = version

    async def of(self, caller: Caller, request: ModelRequest, policy: bytes) -> AnswerKey:
        """The key of the answer to a request.

        The body counts as it travels on, byte by byte and with the plan's cap: models read the order of a schema's
        fields, and whether the answer is a stream is a part of it.

        Args:
            caller: Whose tenant and plan.
            request: What is asked.
            policy: What plan, key and request permit of models and wish for, serialized.
        """
        body = orjson.dumps(request.capped(caller.plan.max_output_tokens))
        parts = (
            caller.tenant.encode(),
            caller.plan.name.encode(),
            self._version.current,
            request.operation.encode(),
            request.model.encode(),
            policy,
            body,
        )
        digest = await offload.run(len(body), lambda: self._digest(parts))
        return AnswerKey(digest, self.tenant(caller.tenant), len(body))

    def tenant(self, name: str) -> str:
        """What a tenant is called in Redis."""
        return self._digest((name.encode(),))

    def _digest(self, parts: Iterable[bytes]) -> str:
        digest = hashlib.blake2b(key=self._secret, digest_size=20)
        for part in parts:
            # Each with its length, so that no two requests have the same bytes in sum.
            digest.update(len(part).to_bytes(8))
            digest.update(part)
        return digest.hexdigest()
