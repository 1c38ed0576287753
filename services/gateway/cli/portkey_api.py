"""Portkey's prompts through its SDK, of the extra `portkey`.

Its API lists versions and partials as bare arrays, by its published schema, which the SDK cannot take: the transport
puts them into an object.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import httpx
import portkey_ai
from portkey_ai.api_resources.exceptions import APIError

from services.gateway.cli.client import RefusedError

TIMEOUT_S = 60.0
PAGE = 100


class _Objects(httpx.HTTPTransport):
    """Answers with an object where Portkey answers with an array."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        body = response.read()
        if not body.lstrip().startswith(b"["):
            return response
        return httpx.Response(
            response.status_code,
            headers={"content-type": "application/json"},
            content=b'{"data":' + body + b"}",
            request=request,
        )


class PortkeyPrompts:
    """What is done with prompts at Portkey.

    Args:
        key: The API key.
        url: The base address of the API.

    """

    def __init__(self, key: str, url: str) -> None:
        self._http = httpx.Client(base_url=url, transport=_Objects(), timeout=TIMEOUT_S, trust_env=False)
        self._client = portkey_ai.Portkey(api_key=key, base_url=url, http_client=self._http)

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def prompts(self) -> list[dict[str, Any]]:
        """All prompts, in short."""
        return self._pages(self._client.prompts.list)

    def labels(self) -> dict[str, str]:
        """The names of all labels, by their ids."""
        return {str(one["id"]): str(one["name"]) for one in self._pages(self._client.labels.list)}

    def prompt(self, slug: str) -> dict[str, Any]:
        """A prompt, with the version that a request gets that names none."""
        return self._one(lambda: self._client.prompts.retrieve(slug))

    def versions(self, slug: str) -> list[dict[str, Any]]:
        """The versions of a prompt, the oldest first; each in short."""
        found = self._many(lambda: self._client.prompts.versions.list(slug))
        return sorted(found, key=lambda one: float(one["prompt_version"]))

    def version(self, slug: str, version_id: str) -> dict[str, Any]:
        """One version, whole."""
        return self._one(lambda: self._client.prompts.versions.retrieve(slug, version_id))

    def partials(self) -> list[dict[str, Any]]:
        """All partials, in short."""
        return self._many(self._client.prompts.partials.list)

    def partial(self, slug: str) -> dict[str, Any]:
        """A partial, with the version that a prompt gets that names none."""
        return self._one(lambda: self._client.prompts.partials.retrieve(slug))

    def partial_versions(self, slug: str) -> list[dict[str, Any]]:
        """The versions of a partial, whole, the oldest first."""
        found = self._many(lambda: self._client.prompts.partials.versions.list(slug))
        return sorted(found, key=lambda one: float(one["version"]))

    def create(self, fields: dict[str, Any]) -> str:
        """Make a prompt, whose first version is its default; its slug."""
        return str(self._one(lambda: self._client.prompts.create(**fields))["slug"])

    def update(self, slug: str, fields: dict[str, Any]) -> None:
        """Add a version, and make it the default."""
        self._one(lambda: self._client.prompts.update(slug, **fields))
        newest = int(self.versions(slug)[-1]["prompt_version"])
        self._one(lambda: self._client.prompts.publish(slug, version=newest))

    def create_partial(self, name: str, text: str, note: str) -> None:
        """Make a partial."""
        self._one(
            lambda: self._client.prompts.partials.create(name=name, string=text, version_description=note)
        )

    def update_partial(self, slug: str, text: str, note: str) -> None:
        """Add a version of a partial, and make it the default."""
        self._one(lambda: self._client.prompts.partials.update(slug, string=text, description=note))
        newest = int(float(self.partial_versions(slug)[-1]["version"]))
        self._one(lambda: self._client.prompts.partials.publish(slug, version=newest))

    def _pages(self, read: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        for page in count():
            found = self._many(partial(read, current_page=page, page_size=PAGE))
            # Whatever pages begin with, and whether they are heeded, no row counts twice.
            fresh = [one for one in found if str(one["id"]) not in seen]
            if not fresh and page > 1:
                break
            rows += fresh
            seen |= {str(one["id"]) for one in fresh}
        return rows

    def _many(self, call: Any) -> list[dict[str, Any]]:
        return list(self._one(call).get("data") or [])

    def _one(self, call: Any) -> dict[str, Any]:
        with _told():
            found = dict(call().model_dump())
        inner = found.get("data")
        return inner if isinstance(inner, dict) else found


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise RefusedError(f"Portkey: {error}") from error
