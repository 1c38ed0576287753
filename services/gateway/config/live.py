"""A part of the configuration, or what follows from it, that may change while the gateway serves."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Live(Generic[T]):
    """A part of the configuration, replaced whole; who needs it at several moments asks for it at each."""

    def __init__(self, value: T) -> None:
        self.current = value
        self._takers: list[Callable[[T], None]] = []

    def on_change(self, take: Callable[[T], None]) -> None:
        """Call `take` with every other value from now on."""
        self._takers.append(take)

    def derived(self, make: Callable[[T], U]) -> "Live[U]":
        """What is made of each value, as the values follow each other."""
        made = Live(make(self.current))
        self.on_change(lambda value: made.replace(make(value)))
        return made

    def replace(self, value: T) -> None:
        """Put another value in force, if it is another."""
        if value == self.current:
            return
        self.current = value
        for take in self._takers:
            take(value)
