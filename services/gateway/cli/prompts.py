"""lumni prompts: make, read, compare, label and take back prompts; whole folders of them for those who use git."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from services.chassis.errors import Invalid
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import facts, show, table
from services.gateway.prompts import files
from services.gateway.prompts.reference import LATEST, PRODUCTION

COLUMNS = (
    ("NAME", "name"),
    ("ORGANIZATION", "organization_id"),
    ("KIND", "kind"),
    ("NEWEST", "newest"),
    ("LABELS", "labels"),
    ("REVISION", "revision"),
    ("CHANGED", "changed_at"),
)
VERSION_COLUMNS = (("VERSION", "version"), ("BY", "created_by"), ("AT", "created_at"), ("NOTE", "note"))
PAGE = 1000
# What stands in files that git keeps: revisions and organizations are the store's.
IN_GIT = ("name", "kind")

Name = Annotated[str, typer.Argument(metavar="PROMPT", help="a name or an id")]
File = Annotated[Path, typer.Argument(help="front matter, then messages; `lumni prompts show` prints one")]
Organization = Annotated[str | None, typer.Option("--organization", help="whose it is; none is everybody's")]
Revision = Annotated[
    int | None,
    typer.Option("--revision", help="refuse where it has changed since this one; the present one if none"),
]
Note = Annotated[str, typer.Option("--note", help="why, for who reads the history")]
Label = Annotated[str, typer.Argument(metavar="LABEL")]

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def find(organization_id: Organization = None) -> None:
    """List the prompts of an organization, or all."""
    rows = list_all(Gateway(), organization_id)
    show(table(rows, COLUMNS))


@app.command("show")
def get(
    prompt: Name,
    version: Annotated[str, typer.Option(help="a number, a label or latest")] = PRODUCTION,
    organization_id: Organization = None,
) -> None:
    """Print a version as a file, which `update` takes back."""
    typer.echo(as_file(Gateway(), prompt, version, organization_id), nl=False)


@app.command()
def versions(prompt: Name, organization_id: Organization = None) -> None:
    """List the newest versions of a prompt."""
    found = Gateway()("GET", f"/admin/prompts/{prompt}/versions", params=_of(organization_id))
    show(table(found["data"], VERSION_COLUMNS))


@app.command()
def diff(
    prompt: Name,
    older: Annotated[str, typer.Argument(metavar="FROM")] = PRODUCTION,
    newer: Annotated[str, typer.Argument(metavar="TO")] = LATEST,
    organization_id: Organization = None,
) -> None:
    """Compare two versions, each a number, a label or latest."""
    asked = {**_of(organization_id), "from": older, "to": newer}
    found = Gateway()("GET", f"/admin/prompts/{prompt}/diff", params=asked)
    show(found["diff"] or f"versions {found['from']} and {found['to']} say the same")


@app.command()
def create(file: File, note: Note = "") -> None:
    """Make a prompt of a file; its first version is in production."""
    header, content = _read(file)
    body = {"name": file.stem, "content": content, "note": note}
    body |= {name: header[name] for name in ("name", "kind", "organization_id") if name in header}
    _show(Gateway()("POST", "/admin/prompts", json=body))


@app.command()
def update(
    file: File,
    note: Note = "",
    label: Annotated[str, typer.Option("--label", help="a label for the new version")] = "",
    revision: Revision = None,
) -> None:
    """Add a version; refused where the prompt has changed since the revision that the file names."""
    gateway = Gateway()
    header, content = _read(file)
    prompt, of = header.get("name", file.stem), _of(header.get("organization_id"))
    seen = _seen(gateway, prompt, of, revision or header.get("revision"))
    body = {"content": content, "note": note, "label": label, "revision": seen}
    _show(gateway("POST", f"/admin/prompts/{prompt}/versions", json=body, params=of))


@app.command()
def label(
    prompt: Name, label: Label, version: int, organization_id: Organization = None, revision: Revision = None
) -> None:
    """Give a label to a version; `production` is what requests get that name no version."""
    gateway, of = Gateway(), _of(organization_id)
    body = {"version": version, "revision": _seen(gateway, prompt, of, revision)}
    _show(gateway("PUT", f"/admin/prompts/{prompt}/labels/{label}", json=body, params=of))


@app.command()
def unlabel(
    prompt: Name, label: Label, organization_id: Organization = None, revision: Revision = None
) -> None:
    """Forget a label."""
    gateway, of = Gateway(), _of(organization_id)
    asked = {**of, "revision": _seen(gateway, prompt, of, revision)}
    _show(gateway("DELETE", f"/admin/prompts/{prompt}/labels/{label}", params=asked))


@app.command("roll-back")
def roll_back(
    prompt: Name, label: Label = PRODUCTION, organization_id: Organization = None, revision: Revision = None
) -> None:
    """Give a label back to the version that had it before; requests get that within a second."""
    gateway, of = Gateway(), _of(organization_id)
    body = {"label": label, "revision": _seen(gateway, prompt, of, revision)}
    _show(gateway("POST", f"/admin/prompts/{prompt}/roll-back", json=body, params=of))


@app.command()
def delete(prompt: Name, organization_id: Organization = None, revision: Revision = None) -> None:
    """Forget a prompt with all its versions."""
    gateway, of = Gateway(), _of(organization_id)
    asked = {**of, "revision": _seen(gateway, prompt, of, revision)}
    gateway("DELETE", f"/admin/prompts/{prompt}", params=asked)
    show(f"{prompt} is deleted.")


@app.command("export")
def export_folder(
    folder: Annotated[Path, typer.Argument()],
    version: Annotated[str, typer.Option(help="a number, a label or latest")] = PRODUCTION,
    organization_id: Organization = None,
) -> None:
    """Write the prompts of an organization, or those of everybody, into a folder, a file each."""
    gateway = Gateway()
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in list_all(gateway, organization_id) if row["organization_id"] == organization_id]
    for row in rows:
        text = as_file(gateway, row["prompt_id"], version, None, header=IN_GIT)
        (folder / f"{row['name']}{files.SUFFIX}").write_text(text, encoding="utf-8")
    show(f"{len(rows)} prompts are in {folder}.")


@app.command("import")
def import_folder(
    folder: Annotated[Path, typer.Argument()],
    note: Note = "",
    label: Annotated[str, typer.Option("--label", help="a label for each new version")] = "",
    organization_id: Organization = None,
) -> None:
    """Make a prompt or a version of each file that says something new; what the newest version says stays alone."""
    gateway, of = Gateway(), _of(organization_id)
    known = {
        row["name"]: row
        for row in list_all(gateway, organization_id)
        if row["organization_id"] == organization_id
    }
    counts = {"new": 0, "changed": 0, "unchanged": 0}
    read = [(file, *_read(file)) for file in sorted(folder.glob(f"*{files.SUFFIX}"))]
    # Partials first: prompts name them.
    for file, header, content in sorted(read, key=lambda one: one[1].get("kind") != "partial"):
        name = header.get("name", file.stem)
        body = {"content": content, "note": note}
        if name not in known:
            gateway(
                "POST",
                "/admin/prompts",
                json={**body, **of, "name": name, "kind": header.get("kind", "prompt")},
            )
            counts["new"] += 1
            continue
        path = f"/admin/prompts/{known[name]['prompt_id']}/versions"
        if content == gateway("GET", f"{path}/{LATEST}")["content"]:
            counts["unchanged"] += 1
            continue
        gateway("POST", path, json={**body, "label": label, "revision": known[name]["revision"]})
        counts["changed"] += 1
    show(", ".join(f"{count} {what}" for what, count in counts.items()))


def list_all(gateway: Gateway, organization_id: str | None) -> list[dict[str, Any]]:
    """The prompts of an organization; without one those of everybody and of all organizations."""
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    whose = _of(organization_id) or {"everywhere": "true"}
    while after is not None:
        asked = {**whose, "after": after, "limit": PAGE}
        page = gateway("GET", "/admin/prompts", params=asked)
        rows += page["data"]
        after = page["after"]
    return rows


def as_file(
    gateway: Gateway,
    prompt: str,
    version: str,
    organization_id: str | None,
    *,
    header: Collection[str] = files.HEADER,
) -> str:
    """A version of a prompt as a file, with some of what it is called in front."""
    of = _of(organization_id)
    row = gateway("GET", f"/admin/prompts/{prompt}", params=of)
    found = gateway("GET", f"/admin/prompts/{prompt}/versions/{version}", params=of)
    named = {name: value for name, value in {**row, "version": found["version"]}.items() if name in header}
    return files.write(named, found["content"])


def _show(row: dict[str, Any]) -> None:
    names = ("prompt_id", "name", "organization_id", "kind", "newest", "labels", "revision")
    show(facts({name: row[name] for name in names}))


def _of(organization_id: str | None) -> dict[str, str]:
    return {"organization_id": organization_id} if organization_id else {}


def _seen(gateway: Gateway, prompt: str, of: dict[str, str], revision: int | None) -> int:
    """The revision that a change is decided upon: the one that was given, else the present one."""
    if revision is not None:
        return revision
    return int(gateway("GET", f"/admin/prompts/{prompt}", params=of)["revision"])


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return files.read(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{file}: cannot be read: {error}") from error
    except Invalid as error:
        raise RefusedError(f"{file}: {error.message}") from error
