"""A part of the configuration that may change while the gateway serves."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Live(Generic[T]):
    """A part of the configuration, replaced whole; who needs it at several moments asks for it at each."""

    def __init__(self, value: T) -> None:
        self.current = value
        self._takers: list[Callable[[T], None]] = []

    def on_change(self, take: Callable[[T], None]) -> None:
        """Call `take` with every other value from now on."""
        self._takers.append(take)

    def replace(self, value: T) -> None:
        """Put another value in force, if it is another."""
        if value == self.current:
            return
        self.current = value
        for take in self._takers:
            take(value)
