"""Prompts from Portkey that say that a Lumni wrote them; not every Lumni is this one."""

from typing import Any, cast

import pytest

from services.gateway.cli import portkey_prompts
from services.gateway.cli.client import Gateway, RefusedError

TEXT = {"text": "Hello"}


class FakeGateway:
    """One partial with two versions, the first of which says Hello."""

    def __init__(self) -> None:
        self.row: dict[str, Any] = {"prompt_id": "pr-1", "kind": "partial", "newest": 2, "revision": 2}
        self.row["labels"] = {"production": 2}
        self.versions: list[dict[str, Any]] = [
            {"version": 1, "note": "Portkey greeting@1", "content": TEXT},
            {"version": 2, "note": "", "content": {"text": "Other"}},
        ]

    def __call__(self, method: str, path: str, json: Any = None, params: Any = None) -> dict[str, Any]:
        if method == "GET":
            number = path.rpartition("/")[2]
            if number.isdigit():
                return self.versions[int(number) - 1]
            return {"data": self.versions, "before": None}
        if method == "PUT":
            raise RefusedError("the label is kept by an experiment")
        self.row["newest"] += 1
        self.versions.append({"version": self.row["newest"], **json})
        return self.row


@pytest.mark.parametrize(("ours", "new"), [(1, 0), (2, 1), (5, 1)])
def test_a_note_of_lumni_counts_only_with_the_content_that_is_here(ours: int, new: int) -> None:
    gateway, outcome = FakeGateway(), portkey_prompts.Outcome()
    version = portkey_prompts.Version(2, TEXT, f"Lumni greeting@{ours}", ("production",), ours)
    source = portkey_prompts.Source("greeting", "partial", [version])

    for _ in range(2):
        portkey_prompts._bring(cast("Gateway", gateway), source, gateway.row, None, outcome)

    assert new == outcome.counts["versions"]
    assert {"greeting@2: the label production: the label is kept by an experiment"} == set(outcome.left)
