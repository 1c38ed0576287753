"""What `lumni evaluate` may spend."""

from pathlib import Path
from typing import Any

import pytest

from services.chassis.money import NANO
from services.gateway.cli import evaluate
from services.gateway.cli.client import Settings


@pytest.mark.parametrize(
    ("spent", "left"), [(0, "2.500000000"), (NANO, "1.500000000"), (3 * NANO, "0.000000000")]
)
def test_the_key_of_a_start_that_goes_on_has_what_earlier_ones_left(
    spent: int, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def gateway(method: str, path: str, **more: Any) -> dict[str, str]:
        asked.append((method, path, more.get("json", {})))
        return {"key": "sk", "key_id": "k"}

    monkeypatch.setattr(evaluate, "Gateway", lambda: gateway)
    options = evaluate._Options(5 * NANO // 2, [], None, None, None, Path("r"), 16, 1, adaptive=True)
    with evaluate._key(Settings(url="http://127.0.0.1:9"), options, spent) as key:
        assert "sk" == key

    assert [("POST", "/admin/keys", left), ("POST", "/admin/keys/k/revoke", "")] == [
        (method, path, body.get("budget_usd", "")) for method, path, body in asked
    ]
