"""Gradual routing: an experiment whose share of keys grows in steps, and falls back when a guardrail is broken.

A key that has the variant at one share has it at every larger one, as the shares are of one and the same hash.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.chassis.errors import Invalid

MOST_STEPS = 20
LONGEST_HOLD_S = 30 * 86_400
WHOLE = 100


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a variant takes over from the control.

    Attributes:
        steps: The shares of the variant, in %, the smallest first; at 0 all have the control.
        hold_s: After how many seconds without a breach the next step follows by itself; None is never.

    """

    steps: tuple[int, ...] = (10, 25, 50, 100)
    hold_s: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is.

    Attributes:
        share: The variant's share now, in %.
        since: Since when, in seconds since 1970.
        number: The how-manieth share this is.
        good: The smaller shares that were left without a breach, the smallest first.
        held: Why it does not go on by itself; empty where it does.

    """

    share: int
    since: float
    number: int = 1
    good: tuple[int, ...] = ()
    held: str = ""

    @property
    def kept(self) -> dict[str, Any]:
        """As JSON, which `read` reads."""
        return asdict(self)


def read(kept: Mapping[str, Any]) -> Progress:
    """What `Progress.kept` made."""
    return Progress(**{**kept, "good": tuple(kept["good"])})


def begun(rollout: Rollout, now: float) -> Progress:
    """The first step."""
    return Progress(rollout.steps[0], now)


def moved(progress: Progress, share: int, now: float) -> Progress:
    """Another share; the last one was good if it was smaller, and what a person sets is held for no reason."""
    good = tuple(one for one in (*progress.good, progress.share) if 0 < one < share)
    return Progress(share, now, progress.number + 1, tuple(sorted(set(good))))


def fallen(progress: Progress, reason: str, now: float) -> Progress:
    """Back at the last good share, none at first, where it stays until somebody sets another."""
    *good, last = (0, *progress.good)
    return Progress(last, now, progress.number + 1, tuple(good[1:]), reason)


def following(rollout: Rollout, progress: Progress, now: float) -> int | None:
    """The share of the next step, where it is time for that; None otherwise."""
    if rollout.hold_s is None or progress.held or now - progress.since < rollout.hold_s:
        return None
    return next((step for step in rollout.steps if step > progress.share), None)


def level(alpha: float, progress: Progress) -> float:
    """The alpha of one share: those of all shares that may ever follow add up to `alpha`."""
    return alpha / (progress.number * (progress.number + 1))


def parse(given: Any) -> Rollout | None:
    """Check what an admin gives.

    Raises:
        Invalid: names the field and what is expected there.
    """
    if given is None:
        return None
    if not isinstance(given, dict) or not given.keys() <= {"steps", "hold_s"}:
        raise Invalid("rollout: expected an object of steps and hold_s", param="rollout")
    usual = Rollout()
    steps = given.get("steps", list(usual.steps))
    if (
        not isinstance(steps, list | tuple)
        or not 1 <= len(steps) <= MOST_STEPS
        or not all(_is_whole(one, 0, WHOLE) for one in steps)
        or sorted(set(steps)) != list(steps)
    ):
        raise Invalid(
            f"rollout.steps: expected 1 to {MOST_STEPS} whole numbers from 0 to {WHOLE} (%), each larger than the one "
            "before",
            param="rollout.steps",
        )
    hold_s = given.get("hold_s")
    if hold_s is not None and not _is_whole(hold_s, 1, LONGEST_HOLD_S):
        raise Invalid(
            f"rollout.hold_s: expected whole seconds from 1 to {LONGEST_HOLD_S}", param="rollout.hold_s"
        )
    return replace(usual, steps=tuple(steps), hold_s=hold_s)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
