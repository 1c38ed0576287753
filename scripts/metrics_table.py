"""Write the table of metrics in docs/monitoring.md: .venv/bin/python scripts/metrics_table.py.

What is in it is read from the code, where each metric has its help text; a test compares.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVICES = ROOT / "services"
DOCUMENT = ROOT / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: scripts/metrics_table.py -->\n", "<!-- end of the metrics -->"
KINDS = ("Counter", "Gauge", "Histogram")
# The folders that measure, and the process that shows it: the first that a module is in counts.
FOLDERS = {
    "gateway/alerts": "ledger",
    "gateway/ledger": "ledger",
    "gateway": "gateway",
    "classifier": "classifier",
    "selector": "selector",
    "executor": "executor",
    "chassis": "every service",
}


@dataclass(frozen=True)
class Metric:
    """One metric, as Prometheus shows it."""

    service: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def metrics() -> list[Metric]:
    """Every metric of the services, by service and name."""
    found = [one for path in SERVICES.rglob("*.py") for one in _of(path)]
    order = ("gateway", "ledger", "classifier", "selector", "executor", "every service")
    return sorted(found, key=lambda one: (order.index(one.service), one.name))


def render() -> str:
    """The table."""
    lines = ["| metric | labels | by | what |", "| --- | --- | --- | --- |"]
    for one in metrics():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` ({one.kind}) | {labels} | {one.service} | {one.text} |")
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """A document with the table of now between the two marks."""
    head, _, rest = document.partition(BEGIN)
    return f"{head}{BEGIN}{render()}{END}{rest.partition(END)[2]}"


def _of(path: Path) -> Iterator[Metric]:
    """The metrics that a module makes; their names, texts and labels are literals."""
    folder = path.relative_to(SERVICES).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        kind = _kind(node)
        if kind is None:
            continue
        assert isinstance(node, ast.Call)
        name, text, *labels = (ast.literal_eval(argument) for argument in node.args)
        if kind == "Counter":
            name = name.removesuffix("_total") + "_total"
        service = next(shown for start, shown in FOLDERS.items() if folder.startswith(start + "/"))
        yield Metric(service, name, kind.lower(), tuple(labels[0]) if labels else (), text)


def _kind(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KINDS:
        module = node.func.value
        if isinstance(module, ast.Name) and module.id == "prometheus_client":
            return node.func.attr
    return None


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
