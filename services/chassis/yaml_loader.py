"""PyYAML's safe loader with a bound on what aliases repeat, so that a short file cannot take memory without end."""

from typing import Any

import yaml
from yaml.composer import ComposerError

# What aliases (`*name`, `<<: *name`) may repeat in one file, in keys and values. Aliases of aliases double with every
# line; a file of 200,000 characters has no more keys and values of its own.
MOST_REPEATED = 100_000


class Loader(yaml.SafeLoader):
    """Reads a file whose aliases stand in nothing that they repeat, and repeat no more than a bound."""

    def __init__(self, text: str) -> None:
        """Take the text of a file."""
        super().__init__(text)
        # Keys and values so far, each alias counted as what it stands for; and those of each anchor.
        self._count = 0
        self._sizes: dict[str, int] = {}
        self._repeated = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML's.

        Raises:
            ComposerError: Aliases repeat too much, or one repeats itself.
        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._count
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            self._repeat(event)
        else:
            self._count += 1
            if event.anchor is not None:
                self._sizes[event.anchor] = self._count - before
        return node

    def _repeat(self, alias: Any) -> None:
        # It has a size when all of it has been read.
        size = self._sizes.get(alias.anchor)
        if size is None:
            raise ComposerError(None, None, f"*{alias.anchor} stands in what it repeats", alias.start_mark)
        self._count += size
        self._repeated += size
        if self._repeated > MOST_REPEATED:
            raise ComposerError(
                None, None, f"aliases repeat more than {MOST_REPEATED:,} keys and values", alias.start_mark
            )
