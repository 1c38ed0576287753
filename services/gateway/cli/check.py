"""lumni check: what Lumni makes of a configuration file, LiteLLM's or its own, before anything starts."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from services.chassis import config, configured_environment, credentials, litellm_config, lumni_config
from services.chassis.config import Mistakes
from services.chassis.deployments import Deployment, Fleet
from services.chassis.money import usd
from services.gateway.cli.output import facts, show, table
from services.gateway.config import alerts, plans, switches
from services.gateway.mirroring import definition as mirroring
from services.gateway.prompts import system_prompts

T = TypeVar("T")
COLUMNS = (
    ("MODEL", "model"),
    ("CALLS", "calls"),
    ("USD PER MTOK", "price"),
    ("KEY", "key"),
    ("GROUPS", "groups"),
)


def check(
    file: Annotated[
        Path,
        typer.Argument(help="a LiteLLM configuration, such as config/litellm_config.yaml, or a lumni.yaml"),
    ],
) -> None:
    """Show what of a file is taken, what is ignored and what is refused, and why; code 1 if it cannot start."""
    if lumni_config.is_one(file):
        _check_own(file)
        return
    examined = litellm_config.examine(file)
    fleet = examined.fleet
    environ = configured_environment.variables(file, config.environment())
    show("Taken:", table(list(_rows(fleet.deployments, environ)), COLUMNS), "", facts(_in_force(fleet)))
    if fleet.warnings:
        show("", "Ignored, or worth knowing:", *(f"  {line}" for line in fleet.warnings))
    _conclude(examined.mistakes)


def _check_own(file: Path) -> None:
    """The sections of `lumni.yaml` that the gateway and the ledger read; the selector reads its own when it starts."""
    mistakes: dict[str, None] = {}

    def read(load: Callable[[Path], T]) -> T | None:
        try:
            return load(file)
        except Mistakes as found:
            # Each reader names what is wrong with the file as a whole.
            mistakes.update(dict.fromkeys(found.lines))
            return None

    known = read(plans.load)
    prompts = read(partial(system_prompts.load, plans=known.by_name if known else ()))
    mirrors = read(partial(mirroring.load, plans=known.by_name if known else ()))
    taken = {
        "plans": ", ".join(known.by_name) if known else None,
        "system_prompts": ", ".join(prompts.names) if prompts else None,
        "mirror": ", ".join(mirrors) if mirrors else None,
        "switches": _shown(read(switches.load)),
        "alerts": _shown(read(alerts.load)),
    }
    show("Taken:", facts(taken))
    _conclude(mistakes)


def _shown(section: Any) -> dict[str, Any] | None:
    return None if section is None else asdict(section)


def _conclude(mistakes: Collection[str]) -> None:
    if mistakes:
        show("", "Refused:", *(f"  {line}" for line in mistakes))
    show("", "Lumni does not start with this file." if mistakes else "Lumni starts with this file.")
    if mistakes:
        raise typer.Exit(1)


def _rows(deployments: Iterable[Deployment], environ: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A line for each entry of the file; those that a wildcard stands for are counted."""
    for _, group in groupby(deployments, lambda one: one.entry):
        first, *others = group
        yield {
            "model": f"{first.model} and {len(others)} more" if others else first.model,
            "calls": f"{first.provider}/{first.litellm_model}",
            "price": "each its own" if others else _price(first),
            "key": _key(first, environ),
            "groups": ", ".join(first.access_groups),
        }


def _price(one: Deployment) -> str:
    if not one.price.known:
        return "unpriced"
    if one.price.free:
        return "free"
    rates = one.price.rates
    return f"{usd(rates.input):g} in, {usd(rates.output):g} out"


def _key(one: Deployment, environ: Mapping[str, str]) -> str:
    if absent := credentials.missing(one, environ):
        return f"{absent} (not set here)"
    return "in the file" if one.key_in_file else one.key_ref or "-"


def _in_force(fleet: Fleet) -> dict[str, object]:
    named = {
        "aliases": fleet.aliases,
        "fallbacks": fleet.fallbacks,
        "context_window_fallbacks": fleet.context_window_fallbacks,
        "content_policy_fallbacks": fleet.content_policy_fallbacks,
    }
    return {
        "num_retries": fleet.num_retries,
        "timeout": f"{fleet.timeout_s:g} s",
        "allowed_fails": fleet.allowed_fails,
        "cooldown_time": f"{fleet.cooldown_s:g} s",
        **{name: ", ".join(mapping) for name, mapping in named.items() if mapping},
    }
