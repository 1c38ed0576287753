"""Write .env.example from the Settings classes, so that none is forgotten: .venv/bin/python scripts/env_example.py."""

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from services.chassis import litellm_deployments
from services.chassis.config import Secret, Secrets

TARGET = Path(__file__).parent.parent / ".env.example"
PROCESSES = {
    "gateway": "services.gateway.settings",
    "ledger": "services.gateway.ledger.settings",
    "classifier": "services.classifier.settings",
    "selector": "services.selector.settings",
    "executor": "services.executor.settings",
    # Several of the above in one process; these variables are what it reads beside theirs.
    "together": "services.together.settings",
    "make run": "services.local.settings",
}
# The processes of a service or the ledger; what all of them read needs no list of names.
SERVICES = ("gateway", "ledger", "classifier", "selector", "executor")
# What only compose.yaml reads; its secrets are files (scripts/compose_secrets).
COMPOSE = {
    **{
        f"{name}_IMAGE": f"image of {what}; name@sha256:... instead of a tag pins it"
        for name, what in {
            "POSTGRES": "PostgreSQL",
            "VALKEY": "Valkey",
            "COLLECTOR": "the OpenTelemetry collector",
            "PYTHON": "Python, which the services' images are built on",
            "HAPROXY": "the proxy in front of the gateways",
            "PROMETHEUS": "Prometheus (profile monitoring)",
            "ALERTMANAGER": "Alertmanager (profile monitoring)",
            "GRAFANA": "Grafana (profile monitoring)",
        }.items()
    },
    "LUMNI_EDGE_SUBNET": "network of the proxy and the gateways; another where this one is taken",
    "LUMNI_GRAFANA_PUBLISH": "address of this host at which Grafana's port is published",
    "LUMNI_PUBLISH": "address of this host at which the gateway's ports are published",
    "LUMNI_TLS_PROXY": "addresses, or networks, of what ends TLS in front of the proxy, as the proxy sees them",
    "PIP_INDEX_URL": "package index that images are built from, PyPI by default; it stays in none of them",
    "LUMNI_TRACES_KEPT_PERCENT": "percentage of the traces without an error, and not slow, that the collector keeps",
    "LUMNI_TRACES_SLOW_MS": "from how many milliseconds on the collector keeps every trace",
    "LUMNI_TRACES_TO": "the collector's exporter: debug (its log) or otlphttp/portkey",
}
# Behind the meaning of secrets; the head of the file says what they stand for.
MARKS = {Secret: " *", Secrets: " **"}
HEAD = """\
# Every variable that Lumni reads, with its default; an empty one counts as unset. Mistakes are named all at once.
# `make run` needs none of them; a deployment needs DATABASE_URL, REDIS_URL, LUMNI_ADMIN_KEY and, between machines,
# LUMNI_SERVICE_TOKEN. * may stand in a file instead, which the variable with _FILE behind its name names; so may the
# providers' keys. ** the same, and while one secret replaces another both are given, as new,old: the first is used, and
# each is accepted. Beside compose.yaml, secrets are files in secrets/ instead (scripts/compose_secrets).
"""


def variables(kind: Any) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each variable of a class of settings."""
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if item.metadata.get("part"):
            yield from variables(hints[item.name])
            continue
        default = item.default
        if default is dataclasses.MISSING or isinstance(default, Secret):
            shown = ""
        elif isinstance(default, bool):
            shown = str(default).lower()
        elif isinstance(default, tuple):
            shown = ",".join(default)
        elif isinstance(default, Path) and default.is_absolute():
            shown = str(default.relative_to(TARGET.parent))
        else:
            shown = str(default)
        yield item.metadata["variable"], shown, item.metadata["doc"] + MARKS.get(hints[item.name], "")


def render() -> str:
    """The whole file: what several processes read first, then each one's own."""
    found = {
        process: list(variables(importlib.import_module(module).Settings))
        for process, module in PROCESSES.items()
    }
    readers: dict[str, list[str]] = {}
    for process, entries in found.items():
        for name, _, _ in entries:
            readers.setdefault(name, []).append(process)
    sections: dict[str, list[str]] = {}
    written = set()
    for process, entries in found.items():
        for name, shown, doc in entries:
            if name in written:
                continue
            written.add(name)
            shared = len(readers[name]) > 1
            title = "several processes" if shared else process
            who = f" [{', '.join(readers[name])}]" if shared and len(readers[name]) < len(SERVICES) else ""
            sections.setdefault(title, []).append(f"# {doc}{who}\n#{name}={shown}")
    in_compose = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (TARGET.parent / "compose.yaml").read_text()))
    for name in sorted(in_compose.keys() - written):
        sections.setdefault("compose.yaml", []).append(f"# {COMPOSE[name]}\n#{name}={in_compose[name]}")
    keys = [f"#{name}=" for name in sorted(set(litellm_deployments.DEFAULT_KEYS.values()))]
    body = [HEAD]
    body += [f"## {title}\n" + "\n".join(lines) + "\n" for title, lines in sections.items()]
    body.append(
        "## providers: read by the executor alone, each only where litellm_config.yaml names it\n"
        + "\n".join(keys)
    )
    return "\n".join(body) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
