"""The items that a response was made from, as pages of a list."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from services.chassis.errors import Invalid

# OpenAI's own bounds.
USUAL, MOST = 20, 100
ORDERS = ("desc", "asc")
# What items of each kind are called where their caller gave them no id.
_PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}


def identified(response_id: str, items: Iterable[Any]) -> list[dict[str, Any]]:
    """The items of a response, oldest first, each with an id: its own, or one that it always gets."""
    return [
        {"id": _id(response_id, place, item), "type": "message", **item} for place, item in enumerate(items)
    ]


def _id(response_id: str, place: int, item: dict[str, Any]) -> str:
    digest = sha256(f"{response_id}/{place}".encode()).hexdigest()[:32]
    return f"{_PREFIXES.get(item.get('type', 'message'), 'item')}_{digest}"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Args:
        after: The id of the item before the first; empty for the beginning.
        limit: How many at most.
        newest_first: Whether the list begins with the newest item.

    """

    after: str = ""
    limit: int = USUAL
    newest_first: bool = True

    @classmethod
    def of(cls, query: str) -> "Page":
        """The page that an address asks for.

        Raises:
            Invalid: names the parameter and what is expected there.
        """
        given = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        limit, order = given.get("limit", str(USUAL)), given.get("order", ORDERS[0])
        # No longer than the most, so that no huge number is read.
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MOST):
            raise Invalid(f"limit: expected a whole number from 1 to {MOST}", param="limit")
        if order not in ORDERS:
            raise Invalid(f"order: expected one of {', '.join(ORDERS)}", param="order")
        return cls(given.get("after", ""), int(limit), order == "desc")

    def cut_from(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The page as OpenAI has it.

        Raises:
            Invalid: no item has the id that it begins after.
        """
        ordered = items[::-1] if self.newest_first else items
        start = 0
        if self.after:
            places = [place for place, item in enumerate(ordered) if item["id"] == self.after]
            if not places:
                raise Invalid("after: there is no item of this id", param="after")
            start = places[0] + 1
        shown = ordered[start : start + self.limit]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": start + self.limit < len(ordered),
        }
