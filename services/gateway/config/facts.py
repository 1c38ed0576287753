"""What configuration files say, as facts with names: for people who compare, and never with a secret.

A fact is a name such as `plans.free.rate.rpm`, and its value as a text. What may hold a password, such as an address
with one or a provider's own parameter, is there by the beginning of a digest: a change is seen, and nothing else.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from services.chassis import money
from services.chassis.deployments import Deployment, Fleet
from services.chassis.prices import Price
from services.gateway.config.alerts import Thresholds
from services.gateway.config.plans import Plans
from services.gateway.config.switches import Switches

# Characters of a value, and of a digest that stands for one.
LONGEST = 120
DIGEST = 8
# Parts of a deployment that are said otherwise: its price apart, and what may hold a secret by a digest.
SAID_APART = frozenset(("id", "entry", "price", "params", "api_base", "proxies"))


# What processes read once, when they start.
AT_START = ("environment_variables.", "general_settings.")


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that is another; None where there is none of that name."""

    name: str
    before: str | None
    after: str | None

    @property
    def needs_restart(self) -> bool:
        """Whether it is in force only when the services have started again."""
        return self.name.startswith(AT_START)


def of(
    fleet: Fleet, plans: Plans, switches: Switches, alerts: Thresholds, system_prompts: Mapping[str, str]
) -> dict[str, str]:
    """All facts, by name; `system_prompts` are the texts, or the stored versions, by what they are for."""
    found: dict[str, str] = {}
    for one in fleet.deployments:
        found |= dict(_deployment(one))
        found |= dict(_price(f"prices.{one.id}", one.price))
    for field in fields(fleet):
        if field.name not in ("deployments", "warnings"):
            found |= dict(_flat(f"routing.{field.name}", getattr(fleet, field.name)))
    for name, plan in plans.by_name.items():
        found |= dict(_flat(f"plans.{name}", plan, without=("name",)))
    found |= {"default_plan": plans.default.name, "bootstrap_plan": plans.bootstrap.name}
    found |= dict(_flat("switches", switches))
    found |= dict(_flat("alerts", alerts))
    found |= {f"system_prompts.{name}": _short(said) for name, said in system_prompts.items()}
    return found


def written(name: str, value: Any, *, hidden: bool) -> Iterator[tuple[str, str]]:
    """A section as it is written, for what another service reads; `hidden` where its values may be secrets."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from written(f"{name}.{key}", below, hidden=hidden)
    elif value is not None:
        yield name, _digest(repr(value)) if hidden else _short(str(value))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """What is another, by name."""
    return [
        Difference(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _deployment(one: Deployment) -> Iterator[tuple[str, str]]:
    name = f"deployments.{one.id}"
    for field in fields(one):
        if field.name not in SAID_APART:
            yield from _flat(f"{name}.{field.name}", getattr(one, field.name))
    if one.api_base:
        yield f"{name}.api_base", _address(one.api_base)
    for place, proxy in enumerate(one.proxies, 1):
        yield f"{name}.proxies.{place}", _address(proxy)
    for parameter, value in one.params.items():
        yield f"{name}.params.{parameter}", _digest(repr(value))


def _price(name: str, price: Price) -> Iterator[tuple[str, str]]:
    """In US dollars for a million tokens."""
    if not price.known:
        yield name, "unknown"
        return
    for row in price.rows:
        tier = f" {row.service_tier}" if row.service_tier else ""
        beyond = f" from {row.from_tokens:,} tokens" if row.from_tokens else ""
        for rate in fields(row.rates):
            if nano := getattr(row.rates, rate.name):
                yield f"{name}.{rate.name}{tier}{beyond}", f"{money.usd(nano):.9g} USD per Mtok"
    if price.per_request:
        yield f"{name}.per_request", f"{money.usd(price.per_request):.9g} USD"
    yield from _flat(f"{name}.web_search", price.web_search)
    yield from _flat(f"{name}.units", price.units)


def _flat(name: str, value: Any, without: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """A value with all that is below it; nothing of what is not set."""
    if value is None or value in ((), {}, frozenset(), ""):
        return
    if is_dataclass(value):
        for field in fields(value):
            if field.name not in without:
                yield from _flat(f"{name}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(f"{name}.{key}", below)
    elif isinstance(value, frozenset):
        yield name, ", ".join(sorted(map(str, value)))
    elif isinstance(value, tuple):
        yield name, ", ".join(map(str, value))
    elif name.endswith("_nano_usd"):
        yield name.removesuffix("_nano_usd"), f"{money.usd(value):.9g} USD"
    else:
        yield name, str(value.value if isinstance(value, Enum) else value)


def _address(address: str) -> str:
    """An address without what may be a password; of that, and of a query, a digest."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _digest(address)
    secret = "@" in parts.netloc or parts.query
    more = f" ({_digest(address)})" if secret else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{more}"


def _short(said: str) -> str:
    """A text as it is, or its beginning, and a digest that tells it from others that begin so."""
    line = " ".join(said.split())
    return line if len(line) <= LONGEST and line == said else f"{line[:LONGEST]} ({_digest(said)})"


def _digest(value: str) -> str:
    return f"digest {hashlib.sha256(value.encode()).hexdigest()[:DIGEST]}"
