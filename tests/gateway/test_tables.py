"""Who writes which table, as docs/money.md says."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "services" / "gateway"
WRITES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+(?:ONLY\s+)?(\{\w+\}|\w+)")
HEADING = "### Who writes which table"


def tables() -> set[str]:
    """All tables of the gateway; its migrations' own is made by `migrate`."""
    texts = [path.read_text() for path in (GATEWAY / "migrations").glob("*.sql")]
    made = {name for text in texts for name in re.findall(r"^CREATE TABLE (\w+) \(", text, re.MULTILINE)}
    return made | {"schema_migrations"}


def texts(path: Path) -> Iterator[str]:
    """The texts of a module; of a formatted one the names of what is put in stay, in braces."""
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                f"{{{ast.unparse(part.value)}}}"
                if isinstance(part, ast.FormattedValue)
                else str(ast.literal_eval(part))
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def writes() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By table: the modules that insert rows, and the other modules that change or delete some."""
    known = tables()
    inserts: defaultdict[str, set[str]] = defaultdict(set)
    changes: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(GATEWAY.rglob("*.py")):
        module = path.relative_to(GATEWAY).with_suffix("").as_posix()
        found = list(texts(path))
        for verb, name in (match for text in found for match in WRITES.findall(text)):
            # A statement for several tables: those that the module names.
            for table in known & (set(found) if name.startswith("{") else {name}):
                (inserts if verb == "INSERT INTO" else changes)[table].add(module)
    return dict(inserts), {
        table: modules - inserts[table] for table, modules in changes.items() if modules - inserts[table]
    }


def documented() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The same, as the document says."""
    text = (ROOT / "docs" / "money.md").read_text().partition(HEADING)[2].partition("\n#")[0]
    inserts, changes = {}, {}
    for line in text.splitlines():
        cells = [set(re.findall(r"`([\w/]+)`", cell)) for cell in line.split("|")[1:-1]]
        if len(cells) == 3:
            for table in cells[0]:
                inserts[table] = cells[1]
                if cells[2]:
                    changes[table] = cells[2]
    return inserts, changes


def test_every_table_has_one_module_that_makes_its_rows() -> None:
    inserts, _ = writes()

    assert tables() == inserts.keys()
    assert {table: modules for table, modules in inserts.items() if len(modules) > 1} == {}


def test_only_retention_and_erasure_touch_rows_of_others() -> None:
    _, changes = writes()

    assert {"keys/erasure", "ledger/retention"} == {module for one in changes.values() for module in one}


def test_the_document_names_every_writer() -> None:
    assert documented() == writes()
