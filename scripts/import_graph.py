"""Draw which folder of each service imports which, into docs/architecture.md; what follows from others is left out.

python scripts/import_graph.py           # write the diagrams
python scripts/import_graph.py --check   # fail when they are not those of the code
"""

import argparse
import ast
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parent.parent
SERVICES = ROOT / "services"
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- import graph: scripts/import_graph.py -->\n", "<!-- end of the import graph -->\n"
DRAWN = ("gateway", "executor", "selector", "classifier")

Graph: TypeAlias = Mapping[str, set[str]]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, also inside functions; a name that is imported comes behind its module."""
    found: list[str] = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return tuple(found)


def modules(service: str) -> dict[str, Path]:
    """The modules of a service by their dotted names, packages under the name of their folder."""
    found = {}
    for path in sorted((SERVICES / service).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def by_module(service: str) -> Graph:
    """Which module of a service imports which other."""
    known = modules(service)
    return {
        # A package that a module lies in is named by whatever it imports from there.
        name: {other for other in imported(path) if other in known and not f"{name}.".startswith(f"{other}.")}
        for name, path in known.items()
    }


def by_folder(service: str) -> Graph:
    """The same by folder; a module at the top of the service stands for itself."""
    graph: dict[str, set[str]] = {}
    for name, others in by_module(service).items():
        graph.setdefault(_folder(name), set()).update(map(_folder, others))
    return {name: others - {name, ""} for name, others in graph.items() if name}


def _folder(module: str) -> str:
    _, _, *rest = module.split(".")
    return rest[0] if rest else ""


def reduced(graph: Graph) -> Graph:
    """Without the arrows that follow from others.

    Raises:
        CycleError: there is a circle.
    """
    reach: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        direct = graph.get(name, set())
        reach[name] = direct.union(*(reach[other] for other in direct))
    return {
        name: {other for other in others if not any(other in reach[one] for one in others - {other})}
        for name, others in graph.items()
    }


def diagram(service: str) -> str:
    """The graph of a service in Mermaid's language; an arrow goes from who imports to what is imported."""
    graph = reduced(by_folder(service))
    tied = {name for name, others in graph.items() if others} | {
        one for others in graph.values() for one in others
    }
    lines = [f"**{service}**", "", "```mermaid", "graph LR"]
    folders = {path.name for path in (SERVICES / service).iterdir() if path.is_dir()}
    # The word `graph` and its like mean something in Mermaid, so every name is an id and a text.
    lines += [f'  {name}["{name}/"]' if name in folders else f'  {name}("{name}")' for name in sorted(tied)]
    lines += [f"  {name} --> {other}" for name in sorted(graph) for other in sorted(graph[name])]
    return "\n".join([*lines, "```", ""])


def written(document: str) -> str:
    """The document with its diagrams made anew."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + "\n".join(diagram(service) for service in DRAWN) + END + tail


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when something would change"
    )
    check: bool = parser.parse_args().check
    present = DOCUMENT.read_text(encoding="utf-8")
    try:
        fresh = written(present)
    except CycleError as error:
        sys.exit(f"a circle of imports: {' -> '.join(error.args[1])}")
    if check and fresh != present:
        sys.exit("docs/architecture.md: the import graph is not the code's; run scripts/import_graph.py")
    if not check:
        DOCUMENT.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
