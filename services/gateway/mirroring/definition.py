"""What a mirror is: the section `mirror` of `config/lumni.yaml`, by name.

A target is what a variant of an experiment sets, so that what was mirrored can be rolled out as it was.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.chassis import lumni_config, money
from services.chassis.errors import Invalid
from services.chassis.yaml import Section
from services.gateway.experiments import definition
from services.gateway.experiments.definition import Variant
from services.gateway.prompts import reference

MOST_MIRRORS = 8
# How long a mirrored request may take, in seconds.
USUAL_DEADLINE_S = 60.0
LONGEST_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Judging:
    """Who grades both answers of a share of the mirrored requests, 0 to 1."""

    model: str
    share: float


@dataclass(frozen=True, slots=True)
class Mirror:
    """A second target for a share of the requests.

    Attributes:
        name: Its name.
        share: Of the requests that it applies to, 0 to 1.
        target: What becomes of a mirrored request; its name and weight mean nothing.
        budget_nano_usd: What its requests, and those of its judge, may cost in a day (UTC).
        plans: The plans whose keys' requests it applies to; none are all.
        keys: The ids of the keys; none are all.
        deadline_s: How long a mirrored request may take, in seconds.
        judge: Who grades answers; None is nobody.

    """

    name: str
    share: float
    target: Variant
    budget_nano_usd: int
    plans: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    deadline_s: float = USUAL_DEADLINE_S
    judge: Judging | None = None


def load(path: Path, plans: Collection[str]) -> Mapping[str, Mirror]:
    """Read the section; without it nothing is mirrored.

    Args:
        path: The file.
        plans: The names of the plans that there are.

    Raises:
        Mistakes: every mistake, with its line.
    """
    root = lumni_config.load(path)
    section = root.section("mirror")
    for name in section.keys[MOST_MIRRORS:]:
        section.mistake(name, f"expected at most {MOST_MIRRORS} mirrors")
    mirrors = {}
    for name, below in section.sections():
        if not reference.LABEL.fullmatch(name):
            section.mistake(
                name, "expected a name of 1 to 64 small letters, digits, _ and -, beginning with a letter"
            )
        mirrors[name] = _mirror(name, below, plans)
    root.finish()
    return mirrors


def _mirror(name: str, section: Section, plans: Collection[str]) -> Mirror:
    section.require("share", "target", "budget_usd")
    wanted = section.texts("plans")
    for plan in wanted:
        if plan not in plans:
            section.mistake("plans", f"there is no plan {plan!r}; known: {', '.join(sorted(plans))}")
    return Mirror(
        name=name,
        share=section.number("share", 0.0, low=0, high=1),
        target=_target(section),
        budget_nano_usd=_budget(section),
        plans=wanted,
        keys=section.texts("keys"),
        deadline_s=section.number("deadline_s", USUAL_DEADLINE_S, low=1, high=LONGEST_DEADLINE_S),
        judge=_judge(section.section("judge")),
    )


def _target(section: Section) -> Variant:
    given: Any = section.plain("target", {})
    if not isinstance(given, dict) or not given:
        section.mistake("target", f"expected a mapping with some of {', '.join(definition.SETS)}")
        return Variant("target")
    try:
        for known in ("name", "weight", "prompt_version"):
            if known in given:
                raise Invalid(f"target.{known}: belongs to a variant of an experiment, not to a mirror")
        return definition.variant({"name": "target", **given}, "target")
    except Invalid as error:
        section.mistake("target", error.message)
        return Variant("target")


def _budget(section: Section) -> int:
    amount = section.decimal("budget_usd", None, low=0, high=money.LARGEST_USD)
    if amount is None:
        return 0
    try:
        return money.nano(amount)
    except ValueError as error:
        section.mistake("budget_usd", str(error))
        return 0


def _judge(section: Section) -> Judging | None:
    if not section.keys:
        return None
    section.require("model", "share")
    return Judging(section.text("model", ""), section.number("share", 0.0, low=0, high=1))
