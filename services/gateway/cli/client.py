"""The gateway's REST surface, as the command line client calls it."""

from dataclasses import dataclass
from typing import Any

from services.chassis import config
from services.chassis.config import Secret, variable

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Settings:
    """Where the gateway is, and with which key it is called."""

    url: str = variable("LUMNI_URL", "", "base address of the gateway")
    openai_url: str = variable("OPENAI_BASE_URL", "", "the same with /v1, as `make run` writes it")
    admin_key: Secret = variable("LUMNI_ADMIN_KEY", Secret(""), "the admin key")
    api_key: Secret = variable("OPENAI_API_KEY", Secret(""), "a virtual key")

    @property
    def base(self) -> str:
        """The base address."""
        return self.url or self.openai_url.rstrip("/").removesuffix("/v1") or "http://127.0.0.1:8080"

    @property
    def key(self) -> Secret:
        """The key to send."""
        return self.admin_key or self.api_key


class RefusedError(Exception):
    """Why a command could not be done, in one line for people."""


class Gateway:
    """Calls the gateway that the environment names.

    Raises:
        RefusedError: the environment has no key.
        Mistakes: the environment is wrong.
    """

    def __init__(self) -> None:
        # Takes longer to import than all else together, and --help does without.
        import httpx

        settings = config.from_environ(Settings, config.environment())
        if not settings.key:
            raise RefusedError(
                "no key: set LUMNI_ADMIN_KEY, or OPENAI_API_KEY for explain; after `make run`: "
                "source .lumni/local.env"
            )
        self.is_admin = bool(settings.admin_key)
        self._failed = httpx.HTTPError
        self._http = httpx.Client(
            base_url=settings.base,
            headers={"authorization": f"Bearer {settings.key.reveal()}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        """Make one request; returns the JSON or the text of the answer.

        Raises:
            RefusedError: what the gateway said instead of an answer, or that there is no gateway.
        """
        try:
            answer = self._http.request(method, path, **more)
        except self._failed as error:
            raise RefusedError(f"no gateway at {self._http.base_url}: {error}") from error
        if answer.is_error:
            try:
                raise RefusedError(answer.json()["error"]["message"])
            except (ValueError, KeyError, TypeError):
                raise RefusedError(f"the gateway answered {answer.status_code}") from None
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json else answer.text
