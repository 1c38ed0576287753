import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.classifier import heads, refit
from services.classifier.embedding import Embedder
from services.classifier.features import NAMES, observe
from services.classifier.heads import Heads
from services.classifier.reading import Turn, read
from services.classifier.refit import Feedback

TEXTS = [
    f"{verb} the {thing} of {number} boats"
    for verb in ("List", "Prove", "Count")
    for thing in ("names", "sum", "code")
    for number in range(60)
]


@pytest.fixture
def used(weights: Heads, embedder: Embedder) -> Feedback:
    """Requests whose outcome is a need for power whenever a sum is asked for."""
    inputs = observed(embedder)
    scores = 1 / (1 + np.exp(-heads.judge(weights, inputs).score.astype(float)))
    return refit.Feedback(
        inputs[:, : len(NAMES)], scores, np.array([float(" sum " in text) for text in TEXTS])
    )


def observed(embedder: Embedder) -> heads.Array:
    return np.stack([observe(read([Turn("user", text)]), embedder).inputs for text in TEXTS])


def test_outcomes_teach_the_score(weights: Heads, used: Feedback, embedder: Embedder) -> None:
    found = refit.refit(weights, used, "learnt")

    assert found.after < found.before
    assert found.weights.version == "learnt"
    score = heads.judge(found.weights, observed(embedder)).score
    assert score[used.outcomes == 1].mean() > score[used.outcomes == 0].mean() + 1.0


def test_few_outcomes_change_little(weights: Heads, used: Feedback) -> None:
    few = refit.Feedback(used.features[:5], used.scores[:5], used.outcomes[:5])
    found = refit.refit(weights, few, "learnt")

    assert np.abs(found.weights.win - weights.win).max() < 0.1


def test_only_the_score_is_refitted(weights: Heads, used: Feedback) -> None:
    found = refit.refit(weights, used, "learnt").weights

    assert np.array_equal(found.win[len(NAMES) :], weights.win[len(NAMES) :])
    assert np.array_equal(found.category, weights.category)
    assert np.array_equal(found.subject, weights.subject)
    assert found.threshold == weights.threshold


def test_feedback_on_other_weights_is_left_out(used: Feedback, tmp_path: Path) -> None:
    path = write(tmp_path / "used.jsonl", used)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["version"] = "v1" if number % 2 else "v0"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")

    assert np.array_equal(refit.load(path, "v1").scores, used.scores[1::2])


def write(path: Path, feedback: Feedback) -> Path:
    lines = [
        json.dumps({"features": row.tolist(), "score": score, "outcome": outcome})
        for row, score, outcome in zip(feedback.features, feedback.scores, feedback.outcomes, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.classifier.refit", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_writes_a_version_that_can_be_served(used: Feedback, tmp_path: Path) -> None:
    done = run("--feedback", write(tmp_path / "used.jsonl", used), "--version", "learnt", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert heads.load(tmp_path / "learnt.npz").facts["refitted_from"] == "v1"


def test_the_command_writes_nothing_that_predicts_no_better(used: Feedback, tmp_path: Path) -> None:
    # The lines that judge contradict those that teach.
    outcomes = used.outcomes.copy()
    outcomes[:: refit.FOLDS] = 1 - outcomes[:: refit.FOLDS]
    feedback = refit.Feedback(used.features, used.scores, outcomes)
    done = run(
        "--feedback", write(tmp_path / "used.jsonl", feedback), "--version", "worse", "--out", tmp_path
    )

    assert done.returncode != 0
    assert "no better" in done.stderr
    assert not (tmp_path / "worse.npz").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 1"),
        ('{"features": [1, 2], "score": 0.2, "outcome": 1}', f"expected {len(NAMES)} features"),
        (json.dumps({"features": [0.0] * len(NAMES), "score": 1.2, "outcome": 1}), "a score"),
        ('{"score": 0.2, "outcome": 1}', "features"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line + "\n")

    with pytest.raises(ValueError, match=message):
        refit.load(path, "v1")


def test_too_few_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text(json.dumps({"features": [0.0] * len(NAMES), "score": 0.2, "outcome": 1}) + "\n")

    with pytest.raises(ValueError, match="at least"):
        refit.load(path, "v1")
