"""How the address of Redis is spelled: one server, a cluster, or servers that Sentinel watches."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = ["Address", "Kind", "Node", "parse"]

# Host and port.
Node: TypeAlias = tuple[str, int]

EXPECTED = (
    "REDIS_URL: expected redis://host:port, rediss:// with TLS, unix://, redis+cluster://host:port,host:port or "
    "redis+sentinel://host:port,host:port/name"
)
PORT = 6379
SENTINEL_PORT = 26379
# What the query of an address says of the sentinels themselves.
SENTINEL_USER = "sentinel_username"
SENTINEL_PASSWORD = "sentinel_password"  # noqa: S105  (a name)


class Kind(StrEnum):
    """What is found at an address."""

    SINGLE = ""
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where Redis is. It has no text of its own, because it holds passwords.

    Args:
        kind: What is there.
        url: The URL of a single server; else that of all servers, with a NUL for host and port.
        nodes: Some nodes of a cluster, or the sentinels.
        service: The name under which the sentinels know the servers.
        sentinel_url: As `url`, for the sentinels.

    """

    kind: Kind
    url: str
    nodes: tuple[Node, ...] = ()
    service: str = ""
    sentinel_url: str = ""

    def url_of(self, node: Node) -> str:
        """The URL of a server."""
        return _at(self.url, node)

    def sentinel_url_of(self, node: Node) -> str:
        """The URL of a sentinel."""
        return _at(self.sentinel_url, node)


def parse(url: str) -> Address:
    """Read an address.

    Raises:
        ValueError: it is none; the message does not repeat its password.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(EXPECTED) from error
    scheme, _, kind = parts.scheme.partition("+")
    if kind == Kind.SINGLE and scheme in ("redis", "rediss", "unix"):
        return Address(Kind.SINGLE, url)
    if kind not in (Kind.CLUSTER, Kind.SENTINEL) or scheme not in ("redis", "rediss"):
        raise ValueError(EXPECTED)
    user, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(one, PORT if kind == Kind.CLUSTER else SENTINEL_PORT) for one in hosts.split(","))
    query = dict(parse_qsl(parts.query))
    sentinel_user, sentinel_password = query.pop(SENTINEL_USER, ""), query.pop(SENTINEL_PASSWORD, "")
    name = unquote(parts.path.strip("/"))
    if kind == Kind.CLUSTER:
        if name not in ("", "0") or query.get("db", "0") != "0":
            raise ValueError("REDIS_URL: a cluster has no databases but 0; leave the path and db out")
        return Address(Kind.CLUSTER, _template(scheme, user + at, query), nodes)
    if not name or "/" in name:
        raise ValueError(
            "REDIS_URL: redis+sentinel:// ends with the name of the servers, such as .../lumni; a database is ?db=1"
        )
    own = f"{quote(sentinel_user, safe='')}:{quote(sentinel_password, safe='')}@" if sentinel_password else ""
    return Address(
        Kind.SENTINEL,
        _template(scheme, user + at, query),
        nodes,
        name,
        _template(scheme, own, {key: value for key, value in query.items() if key != "db"}),
    )


def _node(text: str, port: int) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        host, given = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(EXPECTED) from error
    if not host:
        raise ValueError(EXPECTED)
    return host, given or port


def _template(scheme: str, user: str, query: dict[str, str]) -> str:
    more = f"?{urlencode(query)}" if query else ""
    return f"{scheme}://{user}\0{more}"


def _at(template: str, node: Node) -> str:
    host, port = node
    return template.replace("\0", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
