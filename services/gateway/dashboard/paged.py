"""Rows of a list page by page."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Rows of one page.
PAGE = 50
# Asked for, so that it is known whether there are more.
ASKED = PAGE + 1


def paged(found: Sequence[T], page: int = PAGE) -> tuple[Sequence[T], T | None]:
    """The rows of a page, of one more that were asked for, and the last of them where more follow."""
    rows = found[:page]
    return rows, rows[-1] if len(found) > page else None
