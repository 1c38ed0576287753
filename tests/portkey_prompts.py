"""The prompts of the stand-in for Portkey: its paths, fields and shapes as its OpenAPI description publishes them.

Versions and partials are listed as bare arrays; a prompt's new version is no default until it is made one.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

LABEL_NAME = re.compile(r"(?!latest$)(?!default$)(?!\d+$)[a-zA-Z0-9_-]+")
# What an update without `patch` must bring together.
OF_VERSION = ("string", "parameters")
Answer = tuple[int, Any]


@dataclass
class Kept:
    """A prompt or a partial."""

    id: str
    slug: str
    name: str
    versions: list[dict[str, Any]]
    default: int = 1
    collection_id: str = ""

    @property
    def summary(self) -> dict[str, Any]:
        return {"id": self.id, "slug": self.slug, "name": self.name, "collection_id": self.collection_id}

    def number(self, version: int) -> dict[str, Any]:
        return self.versions[version - 1]


@dataclass
class PromptApi:
    """Prompts, partials and labels."""

    prompts: dict[str, Kept] = field(default_factory=dict)
    partials: dict[str, Kept] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    # How many prompts a page has, whatever is asked for.
    page: int = 2

    def add_label(self, name: str) -> str:
        """Make a label; its id."""
        assert LABEL_NAME.fullmatch(name)
        ident = str(uuid4())
        self.labels[ident] = name
        return ident

    def add(self, slug: str, *versions: Mapping[str, Any], default: int = 1) -> None:
        """Keep a prompt as somebody made it on Portkey's page."""
        self.prompts[slug] = Kept(str(uuid4()), slug, slug, [_version(one) for one in versions], default)

    def add_partial(self, slug: str, *texts: str) -> None:
        """The same of a partial."""
        versions = [_version({"string": text}) for text in texts]
        self.partials[slug] = Kept(str(uuid4()), slug, slug, versions)

    def answer(self, method: str, target: str, body: bytes) -> Answer | None:
        """What a request gets; None where the path is none of these."""
        url = urlsplit(target)
        given = json.loads(body) if body else {}
        for pattern, handlers in self._routes().items():
            if found := re.fullmatch(f"/v1/{pattern}", url.path):
                handler = handlers.get(method)
                if handler is None:
                    return 405, {"success": False}
                try:
                    return handler(given, parse_qs(url.query), *found.groups())
                except (KeyError, IndexError):
                    return 404, {"success": False}
        return None

    def _routes(self) -> dict[str, dict[str, Callable[..., Answer]]]:
        return {
            "labels": {"GET": self._list_labels},
            "prompts": {"GET": self._list_prompts, "POST": self._create},
            "prompts/partials": {"GET": self._list_partials, "POST": self._create_partial},
            "prompts/partials/([^/]+)": {"GET": self._get_partial, "PUT": self._update_partial},
            "prompts/partials/([^/]+)/versions": {"GET": self._partial_versions},
            "prompts/partials/([^/]+)/makeDefault": {"PUT": self._publish_partial},
            "prompts/([^/]+)": {"GET": self._get, "PUT": self._update},
            "prompts/([^/]+)/makeDefault": {"PUT": self._publish},
            "prompts/([^/]+)/versions": {"GET": self._versions},
            "prompts/([^/]+)/versions/([^/]+)": {"GET": self._get_version},
        }

    def _list_labels(self, _: Any, query: Mapping[str, Any]) -> Answer:
        rows = [{"id": ident, "name": name} for ident, name in self.labels.items()]
        return 200, self._paged(rows, query)

    def _list_prompts(self, _: Any, query: Mapping[str, Any]) -> Answer:
        rows = [{**one.summary, "object": "prompt"} for one in self.prompts.values()]
        return 200, self._paged(rows, query)

    def _paged(self, rows: list[dict[str, Any]], query: Mapping[str, Any]) -> dict[str, Any]:
        first = int(query.get("current_page", ["0"])[0]) * self.page
        return {"data": rows[first : first + self.page], "total": len(rows)}

    def _create(self, given: dict[str, Any], _: Any) -> Answer:
        if not all(given.get(name) for name in ("name", "collection_id", "string", "virtual_key")):
            return 400, {"success": False}
        if "parameters" not in given:
            return 400, {"success": False}
        slug = f"pp-{given['name']}-{uuid4().hex[:6]}"
        self.prompts[slug] = Kept(
            str(uuid4()), slug, given["name"], [_version(given)], collection_id=given["collection_id"]
        )
        return 200, {
            "id": self.prompts[slug].id,
            "slug": slug,
            "version_id": self.prompts[slug].number(1)["id"],
        }

    def _update(self, given: dict[str, Any], _: Any, slug: str) -> Answer:
        kept = self.prompts[slug]
        if not all(name in given for name in OF_VERSION):
            return 400, {"success": False}
        kept.versions.append(_version(given))
        return 200, {"id": kept.id, "slug": slug, "prompt_version_id": kept.versions[-1]["id"]}

    def _publish(self, given: dict[str, Any], _: Any, slug: str) -> Answer:
        self.prompts[slug].number(given["version"])
        self.prompts[slug].default = given["version"]
        return 200, {}

    def _get(self, _: Any, __: Any, slug: str) -> Answer:
        return 200, self._whole(slug, self.prompts[slug].default)

    def _versions(self, _: Any, __: Any, slug: str) -> Answer:
        kept = self.prompts[slug]
        rows = [
            {
                "id": one["id"],
                "prompt_id": kept.id,
                "prompt_template": {"string": one["string"]},
                "prompt_version": number,
                "prompt_description": one.get("version_description"),
                "label_id": one.get("label_id"),
                "status": "active",
                "object": "prompt",
            }
            for number, one in enumerate(kept.versions, 1)
        ]
        return 200, rows[::-1]

    def _get_version(self, _: Any, __: Any, slug: str, version_id: str) -> Answer:
        ids = [one["id"] for one in self.prompts[slug].versions]
        if version_id not in ids:
            return 404, {"success": False}
        return 200, self._whole(slug, ids.index(version_id) + 1)

    def _whole(self, slug: str, number: int) -> dict[str, Any]:
        kept = self.prompts[slug]
        one = kept.number(number)
        named = ("string", "parameters", "model", "virtual_key", "functions", "tools", "tool_choice")
        return {
            **kept.summary,
            **{name: one.get(name) for name in (*named, "template_metadata")},
            "prompt_version": number,
            "prompt_version_id": one["id"],
            "prompt_version_status": "active",
            "prompt_version_description": one.get("version_description"),
            "prompt_version_label_id": one.get("label_id"),
            "is_raw_template": False,
        }

    def _list_partials(self, _: Any, __: Any) -> Answer:
        return 200, [{**one.summary, "object": "partial"} for one in self.partials.values()]

    def _create_partial(self, given: dict[str, Any], _: Any) -> Answer:
        if not (given.get("name") and given.get("string")):
            return 400, {"success": False}
        # A partial is named in templates, so the slug is its name.
        slug = given["name"]
        self.partials[slug] = Kept(str(uuid4()), slug, slug, [_version(given)])
        return 200, {"id": self.partials[slug].id, "slug": slug}

    def _get_partial(self, _: Any, __: Any, slug: str) -> Answer:
        kept = self.partials[slug]
        one = kept.number(kept.default)
        return 200, {**kept.summary, "string": one["string"], "version": kept.default}

    def _update_partial(self, given: dict[str, Any], _: Any, slug: str) -> Answer:
        self.partials[slug].versions.append(
            _version({"string": given["string"], "version_description": given.get("description")})
        )
        return 200, {"prompt_partial_version_id": self.partials[slug].versions[-1]["id"]}

    def _publish_partial(self, given: dict[str, Any], _: Any, slug: str) -> Answer:
        self.partials[slug].default = given["version"]
        return 200, {}

    def _partial_versions(self, _: Any, __: Any, slug: str) -> Answer:
        rows = [
            {
                "prompt_partial_version_id": one["id"],
                "slug": slug,
                # A text, by the description.
                "version": str(number),
                "string": one["string"],
                "description": one.get("version_description"),
                "object": "partial",
            }
            for number, one in enumerate(self.partials[slug].versions, 1)
        ]
        return 200, rows[::-1]


def _version(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "id": str(uuid4())}
