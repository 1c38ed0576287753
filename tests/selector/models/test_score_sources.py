"""What the catalog is made from: five public repositories, each in a form of its own."""

import json
from pathlib import Path

import pytest

from scripts import catalog
from scripts.score_sources import Reported, read

LEADERBOARD = "data/organizations/maker/models/m-1"
FILES = {
    f"llm-leaderboard/{LEADERBOARD}/model.json": json.dumps(
        {"organization_id": "maker", "release_date": "2025-08-07", "source_api_ref": None}
    ),
    f"llm-leaderboard/{LEADERBOARD}/benchmarks.json": json.dumps(
        [
            {"model_id": "m-1", "benchmark_id": "mmlu", "score": 0.8, "self_reported_source_link": link}
            for link in ("https://maker.example/m-1", "https://arxiv.org/abs/2509.00001", None)
        ]
    ),
    "llm-benchmark-matrix/data/llm_benchmark_data.json": json.dumps(
        {
            "models": [{"id": "m-1", "provider": "Maker", "release_date": "2025-08-07"}],
            "benchmarks": [{"id": "mmlu", "name": "MMLU"}],
            "scores": [
                # The address names something older than the model.
                {
                    "model_id": "m-1",
                    "benchmark_id": "mmlu",
                    "score": 81,
                    "reference_url": "https://arxiv.org/abs/2009.03300",
                },
                {
                    "model_id": "m-1",
                    "benchmark_id": "mmlu",
                    "score": None,
                    "reference_url": "https://a.example",
                },
            ],
        }
    ),
    "models.dev/models/maker/m-1.toml": (
        'release_date = "2025-08-07"\n[[benchmarks]]\nname = "MMLU"\nscore = 78.5\n'
        'source = "https://artificialanalysis.ai/m-1"\ndate = "2026-01-02"\n'
    ),
    "simple-evals/README.md": (
        "| Model | Prompt | MMLU | GPQA [^8] |\n|:--:|:--:|:--:|:--:|\n| **M** | | | |\n"
        "| [M 1](https://maker.example) (new) [^2] | n/a [^7] | 79.9 | - |\n"
    ),
    "aider/aider/website/_data/polyglot_leaderboard.yml": (
        "- {model: m-1, pass_rate_2: 41.5, date: 2025-09-10}\n"
    ),
    "aider/aider/website/_data/edit_leaderboard.yml": "- {model: m-1, pass_rate_2: 60, _released: 2025-08-07}\n",
}


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_each_source_says_who_published_what_and_when(clones: Path) -> None:
    found = [(one.benchmark, one.percent, one.published, one.independent) for one in read(clones)]

    assert [
        ("mmlu", 80.0, "2025-08-07", False),
        ("mmlu", 80.0, "2025-09", False),
        ("MMLU", 81.0, "2025-08-07", False),
        ("MMLU", 78.5, "2026-01-02", True),
        ("MMLU", 79.9, "", False),
        ("Aider Polyglot", 41.5, "2025-09-10", True),
        ("Aider code editing (pass_rate_2)", 60.0, "", True),
    ] == found


def test_one_model_is_gathered_from_all_of_them(clones: Path) -> None:
    models, dropped, _ = catalog.gathered(read(clones))

    assert ["m-1"] == list(models)
    assert {"MMLU", "Aider Polyglot", "Aider Edit"} == models["m-1"].cells.keys()
    assert not dropped
    assert "2025-08-07" == catalog.release(models["m-1"])


def reported(percent: float, url: str, published: str = "") -> Reported:
    return Reported("m", "", "MMLU", percent, url, published)


def test_who_makes_no_model_goes_before_all_others() -> None:
    makers = [reported(percent, "https://maker.example") for percent in (90, 91, 92)]
    independent = reported(80, "https://epoch.ai/m")

    assert independent == catalog.middle_of([*makers, independent])
    assert makers[1] == catalog.middle_of(makers)


def test_of_two_that_are_as_near_to_the_middle_the_newer_one_counts() -> None:
    old, new = (reported(p, "https://epoch.ai", day) for p, day in ((80, "2024-05"), (84, "2026-01")))

    assert new == catalog.middle_of([old, new]) == catalog.middle_of([new, old])
