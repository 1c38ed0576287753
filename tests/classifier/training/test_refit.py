import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import NAMES
from services.classifier.heads import SCORE, Heads
from services.classifier.reading import Turn, read
from services.classifier.training import refit
from services.classifier.training.metrics import Vector
from services.classifier.training.refit import Feedback

WORDS = "list prove count names sums code boats river winter market letter garden machine doctor paper light".split()


def texts(size: int, seed: int) -> list[str]:
    """Requests of many lengths; half of them give numbers to work with."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(size):
        words = [WORDS[place] for place in rng.integers(0, len(WORDS), rng.integers(4, 60))]
        if number % 2:
            words += ["with", str(rng.integers(2, 9)), "or", str(rng.integers(2, 9)), "each"]
        made.append(" ".join(words) + "?")
    return made


def feedback(weights: Heads, asked: Sequence[str], outcomes: Vector) -> Feedback:
    found = Classifier(weights, EMBEDDER).classify([read([Turn("user", text)]) for text in asked])
    return Feedback(
        np.stack([one.features for one in found]), np.array([one.strong_win_rate for one in found]), outcomes
    )


EMBEDDER = Embedder()


def numbers_need_power(asked: Sequence[str], seed: int) -> Vector:
    """Outcomes of users who need a powerful model mostly when they give numbers."""
    chances = np.array([0.8 if "with" in text else 0.3 for text in asked])
    return (np.random.default_rng(seed).random(len(asked)) < chances).astype(float)


@pytest.fixture(scope="module")
def used(weights: Heads) -> Feedback:
    asked = texts(800, 1)
    return feedback(weights, asked, numbers_need_power(asked, 2))


def log_odds(rates: Vector) -> Vector:
    return np.log(rates / (1 - rates))


def moves(old: Heads, new: Heads, used: Feedback) -> Vector:
    """What a refit adds to the scores of requests, in log-odds."""
    added = old.standardize(used.features) @ (new.inputs - old.inputs)[:, SCORE]
    return np.asarray(added + (new.biases - old.biases)[SCORE], float)


def ranked(scores: Vector, outcomes: Vector) -> float:
    """The probability that a request that needed power scores above one that did not."""
    return float((scores[outcomes == 1][:, None] > scores[outcomes == 0]).mean())


def test_outcomes_teach_the_ranking_of_other_requests(weights: Heads, used: Feedback) -> None:
    found = refit.refit(weights, used, "learnt")
    asked = texts(800, 3)
    others = feedback(weights, asked, numbers_need_power(asked, 4))
    scores = log_odds(others.scores)

    assert found.better
    assert found.after < found.before
    assert found.weights.version == "learnt"
    assert (
        ranked(scores + moves(weights, found.weights, others), others.outcomes)
        > ranked(scores, others.outcomes) + 0.005
    )


@pytest.mark.parametrize("displeased", [0.15, 0.85])
def test_how_often_users_are_displeased_moves_no_level(
    weights: Heads, used: Feedback, displeased: float
) -> None:
    rng = np.random.default_rng(5)
    found = refit.refit(
        weights, Feedback(used.features, used.scores, (rng.random(800) < displeased).astype(float)), "x"
    )
    moved = moves(weights, found.weights, used)

    assert moved.mean() == pytest.approx(0.0, abs=1e-4)
    assert np.abs(moved).max() < 0.5
    assert abs(found.powerful_after - found.powerful_before) < 0.1
    assert not found.better


def test_what_is_learnt_moves_no_level_either(weights: Heads, used: Feedback) -> None:
    found = refit.refit(weights, used, "learnt")

    assert moves(weights, found.weights, used).mean() == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(("outcome", "missing"), [(1.0, "good enough"), (0.0, "a powerful one needed")])
def test_outcomes_of_one_kind_are_refused(
    weights: Heads, used: Feedback, outcome: float, missing: str
) -> None:
    outcomes = np.full(len(used.outcomes), outcome)
    with pytest.raises(ValueError, match=f"0 of 800 outcomes say '{missing}'"):
        refit.refit(weights, Feedback(used.features, used.scores, outcomes), "x")


def test_few_outcomes_change_little(weights: Heads, used: Feedback) -> None:
    few = Feedback(used.features[:100], used.scores[:100], used.outcomes[:100])
    moved = moves(weights, refit.refit(weights, few, "x").weights, few)

    # In log-odds.
    assert 0.0 < np.abs(moved).mean() < 0.05
    assert np.abs(moved).max() < 0.15


def test_outcomes_of_chance_are_not_taken_for_an_improvement(weights: Heads, used: Feedback) -> None:
    rng = np.random.default_rng(6)
    passed = [
        refit.refit(
            weights, Feedback(used.features, used.scores, rng.integers(0, 2, 800).astype(float)), "x"
        ).better
        for _ in range(10)
    ]

    assert sum(passed) <= 1


def test_a_request_is_not_judged_by_what_its_twin_taught(weights: Heads, used: Feedback) -> None:
    # A hundred different requests come thirty times each, and each has its own outcome, by chance.
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        places = rng.integers(0, 100, 3000)
        outcomes = rng.integers(0, 2, 100)[places].astype(float)
        found = refit.refit(weights, Feedback(used.features[places], used.scores[places], outcomes), "x")
        gains.append(found.before - found.after)
        assert not found.better

    assert np.mean(gains) < 0.01


def test_the_order_of_the_lines_means_nothing(weights: Heads, used: Feedback) -> None:
    order = np.random.default_rng(9).permutation(len(used.scores))
    one = refit.refit(weights, used, "x")
    two = refit.refit(weights, Feedback(used.features[order], used.scores[order], used.outcomes[order]), "x")

    assert (two.before, two.after) == pytest.approx((one.before, one.after), abs=1e-9)
    assert two.gain == pytest.approx(one.gain, abs=1e-9)


def test_a_template_filled_in_with_other_names_mostly_looks_the_same(weights: Heads) -> None:
    names = "Ann Anna Bob Christopher Al Maria Johannes Li Elizabeth Tom".split()
    asked = [f"Please write a long and friendly letter to {name} about the garden" for name in names]

    assert len(set(refit._twins(feedback(weights, asked, np.zeros(len(names))).features))) <= 3


def test_too_few_different_requests_are_refused(weights: Heads, used: Feedback) -> None:
    places = np.arange(400) % 40
    same = Feedback(used.features[places], used.scores[places], (np.arange(400) % 2).astype(float))
    with pytest.raises(ValueError, match="look different; at least 50"):
        refit.refit(weights, same, "x")


def test_a_ranking_that_is_wrong_is_not_put_right_by_being_turned_round(
    weights: Heads, used: Feedback
) -> None:
    scores = np.where(used.outcomes == 1, 0.2, 0.8)
    found = refit.refit(weights, Feedback(used.features, scores, used.outcomes), "x")
    share = used.outcomes.mean()

    assert found.before == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share), abs=1e-4)


def test_no_number_is_never_better(weights: Heads) -> None:
    nan = float("nan")

    assert not refit.Refit(weights, 0.5, nan, (nan, nan), 0.5, nan).better


def test_only_the_score_is_refitted(weights: Heads, used: Feedback) -> None:
    found = refit.refit(weights, used, "learnt").weights

    assert np.array_equal(found.inputs[:, SCORE + 1 :], weights.inputs[:, SCORE + 1 :])
    assert found.tables is weights.tables
    assert found.threshold == weights.threshold


def written(path: Path, used: Feedback) -> Path:
    lines = [
        json.dumps({"features": row.tolist(), "score": score, "outcome": outcome})
        for row, score, outcome in zip(used.features, used.scores, used.outcomes, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_feedback_on_other_weights_is_left_out_whatever_they_counted(used: Feedback, tmp_path: Path) -> None:
    path = written(tmp_path / "used.jsonl", used)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["version"] = "v1" if number % 2 else "v0"
        if number % 4 == 0:
            line["features"] = [1.0]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")

    assert np.array_equal(refit.load(path, "v1").scores, used.scores[1::2])


def test_blank_lines_are_skipped(used: Feedback, tmp_path: Path) -> None:
    path = written(tmp_path / "used.jsonl", used)
    path.write_text(path.read_text() + "\n  \n")

    assert len(refit.load(path, "v1").scores) == len(used.scores)


GOOD = {"features": [0.0] * len(NAMES), "score": 0.2, "outcome": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2: Expecting value"),
        ("[1]", "line 2: expected an object"),
        ('{"score": 0.2, "outcome": 1}', "line 2: features is missing"),
        (
            json.dumps(GOOD | {"features": [1, 2]}),
            f"line 2: features: expected {len(NAMES)} numbers, found 2",
        ),
        (json.dumps(GOOD | {"features": "many"}), "line 2: features"),
        (json.dumps(GOOD | {"features": [0.0, float("nan"), *[0.0] * (len(NAMES) - 2)]}), NAMES[1]),
        (json.dumps(GOOD | {"features": [0.0, 1e300, *[0.0] * (len(NAMES) - 2)]}), NAMES[1]),
        (json.dumps(GOOD | {"features": [None] * len(NAMES)}), NAMES[0]),
        (json.dumps(GOOD | {"score": 1.2}), "line 2: score"),
        (json.dumps(GOOD | {"score": float("nan")}), "line 2: score"),
        (json.dumps(GOOD | {"score": "0.2"}), "line 2: score"),
        (json.dumps(GOOD | {"outcome": float("inf")}), "line 2: outcome"),
        (json.dumps(GOOD | {"outcome": None}), "line 2: outcome"),
        (json.dumps({"features": GOOD["features"], "score": 0.2}), "line 2: outcome is missing"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_field(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n")

    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2") as caught:
        refit.load(path, "v1")
    assert message in str(caught.value)


def test_too_few_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")

    with pytest.raises(ValueError, match="at least"):
        refit.load(path, "v1")


def run(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.classifier.training.refit", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_writes_a_version_that_can_be_served(used: Feedback, tmp_path: Path) -> None:
    done = run("--feedback", written(tmp_path / "used.jsonl", used), "--version", "learnt", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "(95 %)" in done.stdout
    assert heads.load(tmp_path / "learnt.npz").facts["refitted_from"] == "v1"


def test_the_command_writes_nothing_that_predicts_no_better(used: Feedback, tmp_path: Path) -> None:
    chance = Feedback(used.features, used.scores, np.random.default_rng(8).integers(0, 2, 800).astype(float))
    done = run(
        "--feedback", written(tmp_path / "used.jsonl", chance), "--version", "worse", "--out", tmp_path
    )

    assert done.returncode != 0
    assert "no better" in done.stderr
    assert not (tmp_path / "worse.npz").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("v1", "comes with the package"), ("../escaped", "no name"), (".hidden", "no name"), ("", "no name")],
)
def test_a_name_that_is_taken_or_is_a_path_is_refused(
    used: Feedback, tmp_path: Path, name: str, message: str
) -> None:
    out = tmp_path / "out"
    done = run("--feedback", written(tmp_path / "used.jsonl", used), "--version", name, "--out", out)

    assert done.returncode != 0
    assert "--version" in done.stderr
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["used.jsonl"]


def test_new_weights_may_not_be_called_as_the_old_ones(
    weights: Heads, used: Feedback, tmp_path: Path
) -> None:
    old = tmp_path / "mine.npz"
    old.write_bytes((heads.COMMITTED / "v1.npz").read_bytes())
    done = run(
        "--weights", old, "--feedback", written(tmp_path / "used.jsonl", used),
        "--version", "mine", "--out", tmp_path,
    )  # fmt: skip

    assert done.returncode != 0
    assert "choose another name" in done.stderr


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_a_broken_file_of_weights_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(content)
    done = run("--weights", broken, "--feedback", broken, "--version", "new", "--out", tmp_path)

    assert done.returncode != 0
    assert done.stderr.startswith(f"refit: {broken} cannot be read as weights")
    assert done.stderr.count("\n") == 1
