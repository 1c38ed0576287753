"""lumni prompts import-portkey, export-portkey: prompts with their versions and labels from Portkey, and to it.

Each version that was carried is marked in the note beside it with where it came from, on the side that it was carried
to. So a second run carries what is new and nothing twice.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis import config
from services.chassis.config import Secret, variable
from services.chassis.errors import Invalid
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import show
from services.gateway.cli.prompts import Organization, list_all
from services.gateway.prompts import portkey_format
from services.gateway.prompts.reference import LABEL, PRODUCTION

if TYPE_CHECKING:
    # The SDK is an extra, and takes seconds to import.
    from services.gateway.cli.portkey_api import PortkeyPrompts

FROM_PORTKEY = re.compile(r"Portkey (?P<slug>\S+)@(?P<version>\d+)(: |$)")
FROM_LUMNI = re.compile(r"Lumni (?P<name>\S+)@(?P<version>\d+)(: |$)")
LONGEST_NOTE = 1000
PAGE = 1000


@dataclass(frozen=True)
class Settings:
    """Portkey's API."""

    key: Secret = variable("PORTKEY_API_KEY", Secret(""), "the API key")
    url: str = variable("PORTKEY_BASE_URL", "https://api.portkey.ai/v1", "its base address")


@dataclass(frozen=True, slots=True)
class Version:
    """A version at Portkey: its content as it is kept here, and the version here that it came from, 0 if from none."""

    number: int
    content: Mapping[str, Any]
    note: str
    labels: tuple[str, ...] = ()
    ours: int = 0


@dataclass(slots=True)
class Source:
    """A prompt or partial at Portkey."""

    name: str
    kind: str
    versions: list[Version]


@dataclass(slots=True)
class Outcome:
    """What a run has done."""

    counts: dict[str, int] = field(
        default_factory=lambda: {"new": 0, "versions": 0, "labels": 0, "unchanged": 0}
    )
    left: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """Show it."""
        show(", ".join(f"{count} {what}" for what, count in self.counts.items()))
        if self.left:
            show("Not carried:", *(f"  {line}" for line in dict.fromkeys(self.left)))


def import_prompts(
    prompt: Annotated[str | None, typer.Argument(metavar="[SLUG]", help="one prompt; all if none")] = None,
    organization_id: Organization = None,
) -> None:
    """Take prompts and partials from Portkey, with their versions and labels; again and again without doubling any."""
    outcome = Outcome()
    with closing(_portkey()) as portkey, closing(Gateway()) as gateway:
        known = _known(gateway, organization_id)
        # Partials first: prompts name them.
        for source in (*_partials(portkey), *_prompts(portkey, prompt, outcome)):
            _bring(gateway, source, known.get(source.name), organization_id, outcome)
    outcome.tell()


def export_prompts(
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="one prompt; all if none")] = None,
    collection: Annotated[str, typer.Option(help="the collection of new prompts at Portkey")] = "",
    virtual_key: Annotated[str, typer.Option(help="the virtual key that prompts have at Portkey")] = "",
    version: Annotated[str, typer.Option(help="a number, a label or latest")] = PRODUCTION,
    organization_id: Organization = None,
) -> None:
    """Give prompts and partials to Portkey, where the version becomes the default; what is there already stays."""
    outcome = Outcome()
    with closing(_portkey()) as portkey, closing(Gateway()) as gateway:
        rows = sorted(_known(gateway, organization_id).values(), key=lambda row: row["kind"] != "partial")
        if prompt and prompt not in [row["name"] for row in rows]:
            raise RefusedError(f"there is no prompt {prompt!r} to export")
        there = {"prompt": portkey.prompts(), "partial": portkey.partials()}
        texts = {
            row["name"]: gateway("GET", f"/admin/prompts/{row['prompt_id']}/versions/{version}")
            for row in rows
            if row["kind"] == "partial" or prompt in (None, row["name"])
        }
        wanted = texts.keys() if prompt is None else _needed(prompt, texts)
        for row in rows:
            if row["name"] not in wanted:
                continue
            found = texts[row["name"]]
            same = next(
                (one for one in there[row["kind"]] if row["name"] in (one["slug"], one["name"])), None
            )
            mark = f"Lumni {row['name']}@{found['version']}"
            if row["kind"] == "partial":
                done = _give_partial(portkey, row["name"], same, found["content"]["text"], mark)
            else:
                converted = portkey_format.to_portkey(found["content"])
                outcome.left += [f"{row['name']}: {name}" for name in converted.left]
                placed = {
                    "collection_id": collection,
                    "virtual_key": virtual_key,
                    "version_description": mark,
                }
                fields = {"name": row["name"], **converted.content, **{k: v for k, v in placed.items() if v}}
                done = _give(portkey, same, fields)
            outcome.counts[done] += 1
    outcome.tell()


def _needed(prompt: str, texts: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """A prompt, and the partials that it needs."""
    needed: set[str] = set()
    waiting = [prompt]
    while waiting:
        name = waiting.pop()
        if name in texts and name not in needed:
            needed.add(name)
            waiting += (one.partition("@")[0] for one in portkey_format.partials(texts[name]["content"]))
    return needed


def _give(portkey: "PortkeyPrompts", same: Mapping[str, Any] | None, fields: dict[str, Any]) -> str:
    """Make or change a prompt at Portkey; what was done."""
    if same is None:
        if not (fields.get("collection_id") and fields.get("virtual_key")):
            raise RefusedError(
                f"{fields['name']} is new at Portkey, which needs --collection and --virtual-key"
            )
        portkey.create(fields)
        return "new"
    there = portkey_format.from_portkey(portkey.prompt(same["slug"]), {}).content
    here = portkey_format.from_portkey(fields, {}).content
    if there == here:
        return "unchanged"
    # Where it is filed, and what it is called, stays as it is there.
    portkey.update(
        same["slug"], {name: value for name, value in fields.items() if name not in ("name", "collection_id")}
    )
    return "versions"


def _give_partial(
    portkey: "PortkeyPrompts", name: str, same: Mapping[str, Any] | None, text: str, mark: str
) -> str:
    if same is None:
        portkey.create_partial(name, text, mark)
        return "new"
    if portkey.partial(same["slug"])["string"] == text:
        return "unchanged"
    portkey.update_partial(same["slug"], text, mark)
    return "versions"


def _partials(portkey: "PortkeyPrompts") -> Iterator[Source]:
    for one in portkey.partials():
        slug = one["slug"]
        default = int(portkey.partial(slug)["version"])
        versions = [
            _version(
                int(float(each["version"])),
                {"text": each["string"]},
                each.get("description"),
                slug,
                default=default,
            )
            for each in portkey.partial_versions(slug)
        ]
        yield Source(slug, "partial", versions)


def _prompts(portkey: "PortkeyPrompts", wanted: str | None, outcome: Outcome) -> Iterator[Source]:
    names = portkey.labels()
    texts = {one["slug"]: portkey.partial(one["slug"])["string"] for one in portkey.partials()}
    found = [one for one in portkey.prompts() if wanted in (None, one["slug"], one["id"])]
    if wanted and not found:
        raise RefusedError(f"Portkey has no prompt {wanted!r}")
    for one in found:
        slug = one["slug"]
        default = int(portkey.prompt(slug)["prompt_version"])
        versions = []
        for short in portkey.versions(slug):
            number = int(short["prompt_version"])
            given = portkey.version(slug, short["id"])
            label = names.get(str(short.get("label_id") or ""), "")
            try:
                converted = portkey_format.from_portkey(given, texts)
            except Invalid as error:
                outcome.left.append(f"{slug}@{number}: {error.message}")
                continue
            outcome.left += [f"{slug}@{number}: {name}" for name in converted.left]
            note = given.get("prompt_version_description") or short.get("prompt_description")
            version = _version(number, converted.content, note, slug, default=default, label=label)
            if label and label.lower() not in version.labels:
                outcome.left.append(f"{slug}@{number}: the label {label}")
            versions.append(version)
        ours = {FROM_LUMNI.match(one.note)["name"] for one in versions if one.ours}  # type: ignore[index]
        # What went from here to Portkey comes back to where it was.
        yield Source(ours.pop() if len(ours) == 1 else slug, "prompt", versions)


def _version(
    number: int, content: Mapping[str, Any], note: str | None, slug: str, *, default: int, label: str = ""
) -> Version:
    """A version with the labels that it has here: the default one is in production, whatever is labelled so there."""
    labels = [PRODUCTION] if number == default else []
    if LABEL.fullmatch(label.lower()) and label.lower() != PRODUCTION:
        labels.append(label.lower())
    ours = FROM_LUMNI.match(note or "")
    if ours:
        return Version(number, content, note or "", tuple(labels), int(ours["version"]))
    mark = f"Portkey {slug}@{number}" + (f": {note}" if note else "")
    return Version(number, content, mark[:LONGEST_NOTE], tuple(labels))


def _bring(
    gateway: Gateway,
    source: Source,
    row: dict[str, Any] | None,
    organization_id: str | None,
    outcome: Outcome,
) -> None:
    """Carry what is new of one prompt, and move its labels to where Portkey has them."""
    of = {"organization_id": organization_id} if organization_id else {}
    here = _carried(gateway, row) if row else {}
    if row:
        here |= {one.number: one.ours for one in source.versions if _is_ours(gateway, row, one)}
    if row and not here:
        outcome.left.append(f"{source.name}: there is another {row['kind']} of this name here")
        return
    before = dict(outcome.counts)
    for one in source.versions:
        if one.number in here:
            continue
        # Another Lumni's is one of Portkey's here.
        note = f"Portkey {source.name}@{one.number}: {one.note}"[:LONGEST_NOTE] if one.ours else one.note
        body = {"content": one.content, "note": note}
        try:
            if row is None:
                body |= {**of, "name": source.name, "kind": source.kind}
                row = gateway("POST", "/admin/prompts", json=body)
                outcome.counts["new"] += 1
            else:
                path = f"/admin/prompts/{row['prompt_id']}/versions"
                row = gateway("POST", path, json={**body, "revision": row["revision"]})
                outcome.counts["versions"] += 1
        except RefusedError as error:
            outcome.left.append(f"{source.name}@{one.number}: {error}")
            continue
        here[one.number] = row["newest"]
    for one in source.versions:
        for label in one.labels:
            if row is None or one.number not in here or row["labels"].get(label) == here[one.number]:
                continue
            moved = {"version": here[one.number], "revision": row["revision"]}
            try:
                row = gateway("PUT", f"/admin/prompts/{row['prompt_id']}/labels/{label}", json=moved)
            except RefusedError as error:
                outcome.left.append(f"{source.name}@{one.number}: the label {label}: {error}")
                continue
            outcome.counts["labels"] += 1
    outcome.counts["unchanged"] += row is not None and outcome.counts == before


def _is_ours(gateway: Gateway, row: Mapping[str, Any], one: Version) -> bool:
    """Whether a version at Portkey went there from here: any Lumni writes such notes, so its content has to be here."""
    if not 0 < one.ours <= row["newest"]:
        return False
    content = gateway("GET", f"/admin/prompts/{row['prompt_id']}/versions/{one.ours}")["content"]
    if row["kind"] == "prompt":
        # As it is after the way there and back, on which some of it is left out.
        content = portkey_format.from_portkey(portkey_format.to_portkey(content).content, {}).content
    # Variables are not kept there; they are found anew in the texts.
    return {**content, "variables": None} == {**one.content, "variables": None}


def _carried(gateway: Gateway, row: Mapping[str, Any]) -> dict[int, int]:
    """The versions here that came from Portkey, by their numbers there."""
    found: dict[int, int] = {}
    before: int | None = row["newest"] + 1
    while before:
        page = gateway(
            "GET", f"/admin/prompts/{row['prompt_id']}/versions", params={"before": before, "limit": PAGE}
        )
        for one in page["data"]:
            if mark := FROM_PORTKEY.match(one["note"]):
                found[int(mark["version"])] = one["version"]
        before = page["before"]
    return found


def _known(gateway: Gateway, organization_id: str | None) -> dict[str, dict[str, Any]]:
    rows: Sequence[dict[str, Any]] = list_all(gateway, organization_id)
    return {row["name"]: row for row in rows if row["organization_id"] == organization_id}


def _portkey() -> "PortkeyPrompts":
    settings = config.from_environ(Settings, config.environment())
    if not settings.key:
        raise RefusedError("no key: set PORTKEY_API_KEY to a key that may read and change prompts")
    try:
        # Takes seconds to import, and nobody else needs it.
        from services.gateway.cli import portkey_api
    except ImportError as error:
        raise RefusedError("Portkey's client is not installed here; install lumni[portkey]") from error
    return portkey_api.PortkeyPrompts(settings.key.reveal(), settings.url)
