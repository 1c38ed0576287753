"""Tables of LiteLLM's database, made from the schema that its package publishes."""

import re
from importlib.resources import files

TYPES = {
    "String": "text",
    "Float": "double precision",
    "Int": "integer",
    "BigInt": "bigint",
    "Boolean": "boolean",
    "DateTime": "timestamp(3)",
    "Json": "jsonb",
}
DEFAULTS = {"now()": "now()", "uuid()": "gen_random_uuid()", "[]": "'{}'", "true": "true", "false": "false"}


def tables(*names: str) -> str:
    """The statements that make the tables."""
    schema = (files("litellm") / "proxy" / "schema.prisma").read_text()
    return "\n".join(_table(schema, name) for name in names)


def _table(schema: str, name: str) -> str:
    found = re.search(rf"^model {name} \{{\n(.*?)^\}}", schema, re.MULTILINE | re.DOTALL)
    assert found, f"LiteLLM's schema has no {name} any more"
    columns = [column for line in found[1].splitlines() if (column := _column(line.strip()))]
    return f'CREATE TABLE "{name}" ({", ".join(columns)});'


def _column(line: str) -> str:
    """A column of a line such as `spend Float @default(0.0)`; nothing of relations and indexes."""
    found = re.match(r"(\w+)\s+(\w+)(\[\])?(\?)?(.*)", line)
    if found is None or found[2] not in TYPES:
        return ""
    name, kind, many, optional, more = found.groups()
    parts = [f'"{name}"', TYPES[kind] + ("[]" if many else "")]
    if default := re.search(r'@default\(\s*((?:"[^"]*"|\[\]|[\w.]+(?:\(\))?))\s*\)', more):
        text = default[1]
        parts.append(f"DEFAULT {DEFAULTS.get(text) or text.replace(chr(34), chr(39))}")
    if "@id" in more:
        parts.append("PRIMARY KEY")
    elif not optional and not many:
        parts.append("NOT NULL")
    return " ".join(parts)
