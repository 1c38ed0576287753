"""lumni check: what Lumni makes of a LiteLLM configuration file, before anything starts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from services.chassis import configured_environment, credentials, litellm_config
from services.chassis.deployments import Deployment, Fleet
from services.chassis.money import usd
from services.gateway.cli.output import facts, show, table

COLUMNS = (
    ("MODEL", "model"),
    ("CALLS", "calls"),
    ("USD PER MTOK", "price"),
    ("KEY", "key"),
    ("GROUPS", "groups"),
)


def check(
    file: Annotated[Path, typer.Argument(help="a LiteLLM configuration, such as config/litellm_config.yaml")],
) -> None:
    """Show what of a file is taken, what is ignored and what is refused, and why; code 1 if it cannot start."""
    examined = litellm_config.examine(file)
    fleet = examined.fleet
    environ = configured_environment.variables(file, os.environ)
    show("Taken:", table(list(_rows(fleet.deployments, environ)), COLUMNS), "", facts(_in_force(fleet)))
    for title, lines in (("Ignored, or worth knowing:", fleet.warnings), ("Refused:", examined.mistakes)):
        if lines:
            show("", title, *(f"  {line}" for line in lines))
    show("", "Lumni does not start with this file." if examined.mistakes else "Lumni starts with this file.")
    if examined.mistakes:
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
