"""lumni models."""

from typing import Any

import pytest
from typer.testing import CliRunner

from services.gateway.cli import models
from services.gateway.cli.commands import app

KNOWN: dict[str, Any] = {
    "id": "small",
    "object": "model",
    "owned_by": "maker",
    "lumni": {
        "input_usd_per_mtok": 0.15,
        "output_usd_per_mtok": None,
        "benchmarks": [
            {
                "name": "measured: code",
                "score": 85.0,
                "source": "measured here, n = 20",
                "by": "measured_here",
            },
            {
                "name": "MMLU",
                "score": 80.0,
                "source": "https://maker.example",
                "by": "maker",
                "published": "2025-08",
                "uncertainty": 6.0,
            },
            {
                "name": "GPQA",
                "score": 70.0,
                "source": "https://epoch.ai",
                "by": "independent",
                "published": "2026-02",
                "uncertainty": 2.0,
            },
            {"name": "HLE", "score": 9.0, "source": None, "imputed": True, "uncertainty": 11.0},
        ],
    },
}
ANSWERS = {
    "/v1/models": {"data": [KNOWN, {"id": "auto", "owned_by": "lumni"}, {"id": "bare", "owned_by": "us"}]},
    "/v1/models/team%2Fsmall": KNOWN,
}


@pytest.fixture
def lumni(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    def answer(method: str, path: str) -> Any:
        assert "GET" == method
        return ANSWERS[path]

    monkeypatch.setattr(models, "Gateway", lambda: answer)
    return CliRunner()


def test_each_model_shows_who_answers_for_how_many_scores(lumni: CliRunner) -> None:
    _, _, small, bare, *_ = lumni.invoke(app, ["models"]).stdout.splitlines()

    assert ["small", "maker", "0.15", "-", "1", "-", "1", "1", "1", "2026-02", "±6"] == small.split()
    assert ["bare", "us"] == bare.split()[:2]


def test_one_model_shows_every_score_with_its_source(lumni: CliRunner) -> None:
    _, _, *rows = lumni.invoke(app, ["models", "team/small"]).stdout.splitlines()

    assert ["measured here", "its maker", "independent", "imputed"] == [
        next(by for by in models.PUBLISHERS.values() if by in row) for row in rows if row.strip()
    ]
    assert "80" in rows[1]
    assert "±6" in rows[1]
    assert "2025-08" in rows[1]
    assert "https://maker.example" in rows[1]
