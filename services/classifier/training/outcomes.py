"""What outcomes of real models say of exam questions and of sums told as a story.

Where such outcomes are known, the score leans on them:

- exam: which questions of MMLU-Pro 29 models fail, by ridge regression on features and embedding, beside REASONING,
  what must be held together to answer. True difficulty is not need (what every model gets wrong gains nothing from a
  powerful one), so neither is trusted alone: parts that agree in sign travel better to unseen data than fitted ones.
- effort: how many steps the worked solutions of GSM8K have.

Nothing that results are reported on is trained on (`holdout`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from services.classifier import heads
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX, Observation, observe
from services.classifier.heads import SUBJECTS, Array
from services.classifier.reading import Turn, read
from services.classifier.training.data import DEVELOPMENT, rows
from services.classifier.training.holdout import held_out, wording

# What a deviation of a feature adds to an exam question's score.
REASONING = {
    "chars": 0.5, "variety": -1.5, "option_likeness": 1.0, "quantities": 1.0, "logic": 0.25, "word_chars": -0.5,
}  # fmt: skip
DIFFICULTY = 0.5
# Log-odds between exam questions a standard deviation apart, and between efforts a deviation apart.
EXAM_SPREAD = 2.0
EFFORT_WEIGHT = 4.0
# Word problems with worked solutions that are learnt from.
PROBLEMS = 3000
# The embedding says much about the source of a prompt: it is trusted half as much as the features.
EMBEDDING = 0.5
LEAST_SCALE = 0.05


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The heads that are learnt from outcomes; see heads.Heads."""

    embedding_mean: Array
    embedding_scale: Array
    exam: Array
    effort: Array
    effort_bias: float


@dataclass(frozen=True, slots=True)
class Exam:
    """The questions of MMLU-Pro that may be trained on.

    Attributes:
        questions: With four answers to choose from.
        failed: The share of models that fail each.
        subjects: One of heads.SUBJECTS each.
    """

    questions: list[Observation]
    failed: np.ndarray[tuple[int], np.dtype[np.float64]]
    subjects: list[str]


def seen(texts: Sequence[str], embedder: Embedder) -> list[Observation]:
    """Observations of texts, each the only turn of a conversation."""
    return [observe(read([Turn("user", text)]), embedder) for text in texts]


def reported(data: Path) -> frozenset[str]:
    """The wordings that results are reported on, which are refused for training wherever they turn up."""
    return frozenset(wording(row["prompt"]) for name in DEVELOPMENT.values() for row in rows(data / name))


def exam(data: Path, embedder: Embedder, rng: np.random.Generator) -> Exam:
    """Read the questions of MMLU-Pro and their outcomes."""
    free = _free(reported(data))
    found = [row for row in rows(data / "train" / "mmlu_pro_correctness.csv.gz") if free(row["question"])]
    failed = [1 - np.mean([float(value) for value in list(row.values())[7:] if value]) for row in found]
    subjects = [row["category"] for row in found]
    if unknown := set(subjects) - set(SUBJECTS):
        raise SystemExit(f"mmlu_pro_correctness.csv.gz: {min(unknown)!r} is no subject")
    return Exam(seen([four_choices(row, rng) for row in found], embedder), np.array(failed), subjects)


def learn(data: Path, questions: Exam, mean: Array, scale: Array, embedder: Embedder) -> Outcomes:
    """Fit both heads on features standardized by `mean` and `scale`."""
    vectors = np.stack([embedder.embed(question.plain) for question in questions.questions])
    around, spread = vectors.mean(axis=0), (vectors.std(axis=0) + 1e-6) / EMBEDDING

    def both(observations: Sequence[Observation]) -> Array:
        features = np.stack([one.features for one in observations])
        embedded = np.stack([embedder.embed(one.plain) for one in observations])
        return np.hstack(
            [heads.standardize(features, mean, scale), heads.standardize(embedded, around, spread)]
        )

    standard = both(questions.questions)
    hard = Ridge(300.0).fit(standard, questions.failed).coef_
    weights = DIFFICULTY * hard / (standard @ hard).std()
    for name, weight in REASONING.items():
        # Deviations among the questions themselves.
        weights[INDEX[name]] += weight / (standard[:, INDEX[name]].std() + LEAST_SCALE)
    weights *= EXAM_SPREAD / (standard @ weights).std()

    free = _free(reported(data))
    lines = (data / "train" / "gsm8k_train.jsonl").read_text("utf-8").splitlines()
    problems = [problem for problem in map(json.loads, lines) if free(problem["question"])][:PROBLEMS]
    told = both(seen([problem["question"] for problem in problems], embedder))
    steps = np.log1p([problem["answer"].count("<<") for problem in problems])
    written = np.log1p([problem["answer"].count("\n") for problem in problems])
    model = Ridge(100.0).fit(told, steps / steps.std() + written / written.std())
    effort = model.coef_ / (told @ model.coef_).std()
    for name, sign in (("chars", 1.0), ("variety", -1.0)):
        effort[INDEX[name]] += sign / told[:, INDEX[name]].std()
    effort /= (told @ effort).std()
    return Outcomes(
        around.astype(np.float32),
        spread.astype(np.float32),
        weights.astype(np.float32),
        effort.astype(np.float32),
        -float((told @ effort).mean()),
    )


def four_choices(row: dict[str, str], rng: np.random.Generator) -> str:
    """A question of MMLU-Pro with the right answer and three others, as MMLU prints it."""
    lines = [
        option.partition(". ")[2] for option in ("\n" + row["options"]).split("\n") if option[1:3] == ". "
    ]
    right = min("ABCDEFGHIJ".index(row["answer"]), len(lines) - 1)
    others = rng.permutation([number for number in range(len(lines)) if number != right])[:3]
    kept = rng.permutation([right, *others])
    return (
        row["question"]
        + "".join(f"\n{letter}. {lines[n]}" for letter, n in zip("ABCD", kept, strict=False))
        + "\nAnswer:"
    )


def _free(refused: frozenset[str]) -> Callable[[str], bool]:
    return lambda text: not held_out(text) and wording(text) not in refused
