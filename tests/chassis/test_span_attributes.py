"""docs/tracing.md names each attribute and event of spans that the code sets, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"(error|gen_ai|http|lumni|rpc|user)(\.[a-z_]+)+\.?")
# What ASGI calls its messages, in a module that sets attributes, too.
MESSAGES = {"http.response.start", "http.response.body"}


def spans_modules() -> Iterator[ast.Module]:
    """The modules that set or read attributes of spans."""
    for path in (ROOT / "services").rglob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or "" for node in imports}
        names |= {alias.name for node in imports for alias in node.names}
        if "stages" in names or any(name.startswith("opentelemetry") for name in names):
            yield tree


def test_the_table_of_attributes_is_the_codes() -> None:
    used = {
        # The name of one that a caller chose the end of.
        f"{node.value}*" if node.value.endswith(".") else node.value
        for tree in spans_modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    } - MESSAGES
    document = (ROOT / "docs" / "tracing.md").read_text()
    section = document.partition("## The spans of a request\n")[2].partition("\n## ")[0]

    named = {text for text in re.findall(r"`([^`\n]+)`", section) if NAME.fullmatch(text.removesuffix("*"))}
    assert used == named
