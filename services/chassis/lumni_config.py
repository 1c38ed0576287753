"""Opens `lumni.yaml`, of which each service reads its own sections."""

from pathlib import Path

from services.chassis import yaml
from services.chassis.config import Mistakes
from services.chassis.yaml import Section

__all__ = ["SECTIONS", "is_one", "load"]

# All that may stand at the top: the gateway's plans, switches, texts and mirrors, the selector's sections, and the
# ledger's.
SECTIONS = (
    "default_plan",
    "bootstrap_plan",
    "plans",
    "switches",
    "system_prompts",
    "mirror",
    "selector",
    "learning",
    "exploration",
    "alerts",
)


def load(path: Path) -> Section:
    """The whole file, to be read section by section; a top-level key that no service reads is a mistake.

    Raises:
        Mistakes: it is not there, not YAML, or not a mapping. `Section.finish` raises all others.
    """
    root = yaml.load(path)
    root.only(*SECTIONS)
    return root


def is_one(path: Path) -> bool:
    """Whether a file has a section of `lumni.yaml`, none of which LiteLLM's configuration has."""
    try:
        return not set(SECTIONS).isdisjoint(yaml.load(path).keys)
    except Mistakes:
        return False
