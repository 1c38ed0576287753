"""How a request names a version of a prompt: `greeting`, `greeting@3`, `greeting@latest`, `greeting@staging`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis.errors import Invalid, NotFound

# What an id begins with, so that no name can be taken for one.
ID_PREFIX = "pr-"
NAME = re.compile(r"(?!pr-)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
LABEL = re.compile(r"(?!latest$)[a-z][a-z0-9_-]{0,63}")
# The version that a name alone means.
PRODUCTION = "production"
LATEST = "latest"
LARGEST_VERSION = 2**31 - 1
LONGEST_VERSION = len(str(LARGEST_VERSION))
_NAMED = re.compile(r"(?P<prompt>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})(@(?P<which>[a-z0-9][a-z0-9_-]{0,63}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A prompt, by name or id, and which version of it: a number, a label, or `latest`."""

    prompt: str
    which: str = PRODUCTION

    def __str__(self) -> str:
        return f"{self.prompt}@{self.which}"

    def version(self, labels: Mapping[str, int], newest: int) -> int:
        """The number of the version.

        Args:
            labels: The versions that have a label now.
            newest: The newest version's number.

        Raises:
            NotFound: there is no such version or label.
        """
        if self.which == LATEST:
            return newest
        digits = self.which.isdecimal() and len(self.which) <= LONGEST_VERSION
        number = int(self.which) if digits else labels.get(self.which, 0)
        if not 0 < number <= newest:
            known = ", ".join(sorted(labels))
            raise NotFound(
                f"the prompt {self.prompt} has no version {self.which[:80]}; it has 1 to {newest}, {LATEST}, and the "
                f"labels {known}",
                reason="PROMPT_NOT_FOUND",
                param="prompt",
            )
        return number


def parse(text: str, version: str = "", place: str = "prompt.id") -> Reference:
    """What a text names.

    Args:
        text: A name or id, with @ and a version or not.
        version: A version that is given beside the name.
        place: The field that the text stands in.

    Raises:
        Invalid: it names nothing.
    """
    found = _NAMED.fullmatch(text)
    if found is None or (version and not _NAMED.fullmatch(f"a@{version}")):
        raise Invalid(
            f"{place}: expected the name or id of a prompt, such as greeting, greeting@3, greeting@latest or "
            "greeting@staging",
            param=place,
        )
    if version and found["which"]:
        raise Invalid(f"{place}: names a version, as prompt.version does; send one", param=place)
    return Reference(found["prompt"], version or found["which"] or PRODUCTION)


def check_name(name: str) -> str:
    """A name for a new prompt.

    Raises:
        Invalid: it cannot be one.
    """
    if not NAME.fullmatch(name):
        raise Invalid(
            f"name: expected 1 to 128 letters, digits and _ . -, not beginning with {ID_PREFIX}", param="name"
        )
    return name


def check_label(label: str) -> str:
    """A label for a version.

    Raises:
        Invalid: it cannot be one.
    """
    if not LABEL.fullmatch(label):
        raise Invalid(
            f"label: expected 1 to 64 small letters, digits, _ and -, beginning with a letter, and not {LATEST}",
            param="label",
        )
    return label
