"""How far outcomes may move selections: `learning` and `exploration` of `lumni.yaml`.

learning: on                                   # off, observe or on
exploration: {share: 0.02, budget_usd: 1}
"""

from dataclasses import dataclass
from enum import StrEnum

from services.chassis import money
from services.chassis.yaml import Section

__all__ = ["MOST_SHARE", "Learning", "Mode", "level_of", "read"]

# A bound for operators: beyond it, exploring is no longer a side matter. Plans have the same.
MOST_SHARE = 0.2
# From this strong win rate on a request is of the upper level. Finer levels would have too few outcomes each.
LEVEL_SPLIT = 0.5


class Mode(StrEnum):
    """What is done with outcomes."""

    # Nothing is recorded for it, and nothing changes.
    OFF = "off"
    # Outcomes are counted and shown; selections stay as they are.
    OBSERVE = "observe"
    # Some requests explore, and evidence acts where it was shown to be no worse.
    ON = "on"


@dataclass(frozen=True, slots=True)
class Learning:
    """The settings.

    Attributes:
        mode: What is done with outcomes.
        share: Of a plan's requests that may explore, where the plan has no share of its own, 0 to 0.2.
        budget_nano_usd: What exploring may cost more than not exploring, in nano-USD per day (UTC), over all replicas.

    """

    mode: Mode = Mode.OFF
    share: float = 0.02
    budget_nano_usd: int = money.NANO


# What YAML's older versions take on and off for, and what tools that know these write in their place, means the same.
_MODES = {**{mode.value: mode for mode in Mode}, "true": Mode.ON, "false": Mode.OFF}


def read(root: Section) -> Learning:
    """Read both keys; mistakes are noted, and raised by `Section.finish`."""
    default = Learning()
    exploration = root.section("exploration")
    budget = exploration.decimal("budget_usd", None, low=0, high=money.LARGEST_USD)
    return Learning(
        mode=_MODES[root.choice("learning", tuple(_MODES), default.mode)],
        share=exploration.number("share", default.share, low=0, high=MOST_SHARE),
        budget_nano_usd=default.budget_nano_usd if budget is None else int(budget * money.NANO),
    )


def level_of(strong_win_rate: float) -> int:
    """The level of a request: 1 where a powerful model is more likely than not to be needed, else 0."""
    return int(strong_win_rate >= LEVEL_SPLIT)
