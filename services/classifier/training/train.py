"""Train the heads.

    python -m services.classifier.training.train --data FOLDER

Where the score comes from, and why it is built of parts rather than fitted as one:

- True difficulty is not need: what every model gets wrong gains nothing from a powerful one. And pooling outcomes of
  unlike data sets teaches which data set a prompt is from. So each part is learnt inside one source, or set by a
  stated reason, put on one scale, and added up. Of parts that agree in sign, equal weights travel better to unseen
  data than fitted ones.
- PRIORS: kinds of tasks whose answers take several steps (mathematics, code, reasoning) are where weak models
  fall behind in every public comparison; talk, facts and prose are where they keep up.
- REASONING: within a kind, what must be held together counts: length, terms that return, quantities compared, logic,
  answers that resemble each other, plain words rather than rare ones.
- difficulty: ridge regression of the share of 29 models that fail an MMLU-Pro question.
- effort: ridge regression of the steps of the worked solutions of GSM8K, for mathematics only.
- One slope and one intercept, fitted on outcomes of a weak and a strong model over ten sources, make the sum a
  probability.

The only numbers chosen with an eye on the development halves of RouteLLM's data are the few weights below; none of
their prompts or outcomes is trained on.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from services.classifier import heads
from services.classifier.embedding import DIMENSIONS, Embedder
from services.classifier.features import INDEX, NAMES, observe
from services.classifier.heads import CATEGORIES, COMMITTED, SUBJECTS, Array, Heads
from services.classifier.reading import Turn, read
from services.classifier.training.examples import DEVELOPMENT, OWN, Example, check, labelled, rows
from services.classifier.training.holdout import held_out, wording

# What a category adds to the score, in units of SPREAD.
PRIORS = {
    "chat": -1.2, "factual question": -0.4, "writing": -0.6, "summarization": -0.4, "translation": -0.4,
    "extraction": 0.2, "code": 1.0, "math": 1.3, "reasoning": 1.0, "science": 0.2, "planning": -0.1, "other": -0.3,
}  # fmt: skip
SPREAD = 4.0
# What a deviation of a feature adds. Those after the blank line occur in no public routing data: small, and by hand.
REASONING = {
    "chars": 0.5, "variety": -1.5, "option_likeness": 1.0, "quantities": 1.0, "logic": 0.25, "word_chars": -0.5,

    "enumerated": 0.2, "constraints": 0.2, "tools": 0.2, "structured": 0.1, "attachments": 0.2, "turns": 0.1,
    "one_step": -0.2, "greetings": -0.2,
}  # fmt: skip
DIFFICULTY = 0.5
# What a standard deviation of effort among GSM8K's problems adds, within mathematics.
EFFORT = 4.0
# Deviations of features that never vary in training are counted against these.
SCALES = {"turns": 0.7, "tools": 1.0, "structured": 0.5, "attachments": 0.7, "history": 4.0, "system": 4.0}
# The embedding says much about the source of a prompt: it is trusted half as much as the features.
EMBEDDING = 0.5
# The category's log-odds are shrunk by regularization, and stretched back.
STRETCH = 2.0
# Inverse strength of the category's regularization.
REGULARIZATION = 0.003
# How much more a prompt of our own says about its category than one labelled by where it was found.
OWN_WEIGHT = 4.0
# Share of the reference prompts that the default threshold calls powerful.
POWERFUL = 0.5
LEAST_SCALE = 0.05

# The pair whose outcomes on MMLU-Pro are the nearest to a fast and a powerful model's.
WEAK = "Mixtral-8x7B-Instruct-v0.1"
STRONG = "gemini-1.5-pro-002"
# Of LLMRouter's nine models, these two are a gap apart on tasks that neither of them breaks at.
WEAK_ROUTER = "mistral-7b-instruct-v0.3"
STRONG_ROUTER = "llama-3.1-nemotron-51b-instruct"
ROUTER_TASKS = (
    "openbook_qa", "arc_challenge", "commonsense_qa", "natural_qa", "trivia_qa", "gpqa", "math",
    "agentverse-logicgrid", "human_eval",
)  # fmt: skip


class Observer:
    """Texts to what the heads see."""

    def __init__(self) -> None:
        self._embedder = Embedder()

    def inputs(self, texts: Sequence[str]) -> Array:
        """One row a text, each the only turn of a conversation."""
        return np.stack([observe(read([Turn("user", text)]), self._embedder).inputs for text in texts])


def train(data: Path, seed: int, version: str) -> Heads:
    """Train one version of the weights on the public data in a folder; says what it uses."""
    rng = np.random.default_rng(seed)
    observer = Observer()
    reported = development(data)
    offered = labelled(data, seed)
    examples = [example for example in offered if wording(example.text) not in reported]
    say("prompts refused because results are reported on them", len(offered) - len(examples))
    say("weakly labelled prompts", Counter(example.source for example in examples))
    seen = observer.inputs([example.text for example in examples])
    mean, scale = reference(examples, seen, rng)
    standard = standardize(seen, mean, scale)
    category = categories(examples, standard)
    subject = subjects(examples, standard)

    def free(text: str) -> bool:
        return not held_out(text) and wording(text) not in reported

    questions = [row for row in rows(data / "train" / "mmlu_pro_correctness.csv.gz") if free(row["question"])]
    say("MMLU-Pro questions with outcomes", len(questions))
    choices = standardize(observer.inputs([four_choices(row, rng) for row in questions]), mean, scale)
    failed = np.array([1 - np.mean([float(v) for v in list(row.values())[7:] if v]) for row in questions])
    hard = Ridge(300.0).fit(choices, failed).coef_
    win = (DIFFICULTY * hard / (standard @ hard).std()).astype(np.float32)
    for name, weight in REASONING.items():
        win[INDEX[name]] += weight

    effort = solution_effort(data, observer, mean, scale, free)
    prior = np.array([SPREAD * PRIORS[name] for name in CATEGORIES], np.float32)
    raw = Heads(
        version=version, mean=mean, scale=scale, win=win, win_bias=0.0, prior=prior, effort=effort,
        effort_weight=EFFORT, category=category, subject=subject, threshold=0.5, features=NAMES,
        facts={"seed": seed, "prompts": len(examples), "outcomes": len(questions)},
    )  # fmt: skip
    slope, intercept = calibrate(raw, data, observer, questions, free, rng)
    say("slope and intercept of the score", [round(slope, 3), round(intercept, 3)])
    final = replace(
        raw, win=win * slope, prior=prior * slope, effort_weight=EFFORT * slope, win_bias=intercept
    )
    return replace(final, threshold=default_threshold(final, seen[mix(examples, rng, 60)]))


def development(data: Path) -> frozenset[str]:
    """The wordings that results are reported on, which are refused for training wherever they turn up."""
    return frozenset(wording(row["prompt"]) for name in DEVELOPMENT.values() for row in rows(data / name))


def reference(examples: Sequence[Example], seen: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mean and scale of every input over equally many prompts of each source."""
    chosen = seen[mix(examples, rng, 300)]
    mean, scale = chosen.mean(axis=0), chosen.std(axis=0)
    scale[: len(NAMES)] += LEAST_SCALE
    for name, value in SCALES.items():
        mean[INDEX[name]], scale[INDEX[name]] = 0.0, value
    scale[-DIMENSIONS:] /= EMBEDDING
    return mean.astype(np.float32), scale.astype(np.float32)


def mix(
    examples: Sequence[Example], rng: np.random.Generator, most: int
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Indices of at most so many prompts of each source and category."""
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(
            example.source if example.source != OWN else f"{OWN} {example.category}", []
        ).append(number)
    return np.concatenate([rng.permutation(group)[:most] for group in groups.values()])


def standardize(seen: Array, mean: Array, scale: Array) -> Array:
    """As Heads.standardize."""
    standard: Array = np.clip((seen - mean) / scale, -heads.CLIP, heads.CLIP)
    return standard


def categories(examples: Sequence[Example], standard: Array) -> Array:
    """The category's head: multinomial logistic regression on prompts whose kind is known."""
    known = np.array([bool(example.category) for example in examples])
    labels = np.array([CATEGORIES.index(example.category) for example in examples if example.category])
    sources = [example.source for example in examples if example.category]
    counts = Counter(zip(labels.tolist(), sources, strict=True))
    weights = np.array([counts[pair] ** -0.5 for pair in zip(labels.tolist(), sources, strict=True)])
    weights *= np.where(np.array(sources) == OWN, OWN_WEIGHT, 1.0)
    weights /= np.bincount(labels, weights, len(CATEGORIES))[labels]
    return STRETCH * _multinomial(standard[known], labels, weights, REGULARIZATION, len(CATEGORIES))


def subjects(examples: Sequence[Example], standard: Array) -> Array:
    """The subject's head, with one more class for none; every subject counts the same."""
    names = (*SUBJECTS, "none")
    known = np.array([bool(example.subject) for example in examples])
    labels = np.array([names.index(example.subject) for example in examples if example.subject])
    weights = 1.0 / np.bincount(labels, minlength=len(names))[labels]
    return _multinomial(standard[known], labels, weights, 0.03, len(names))


def _multinomial(
    standard: Array,
    labels: np.ndarray[tuple[int], np.dtype[np.int_]],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    c: float,
    classes: int,
) -> Array:
    model = LogisticRegression(C=c, max_iter=300).fit(
        standard, labels, sample_weight=weights * len(labels) / weights.sum()
    )
    if len(model.classes_) != classes:
        raise SystemExit("the data lacks a category or subject; is the folder complete?")
    matrix: Array = np.vstack([model.coef_.T, model.intercept_]).astype(np.float32)
    return matrix


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


def solution_effort(
    data: Path, observer: Observer, mean: Array, scale: Array, free: Callable[[str], bool]
) -> Array:
    """The effort's head: steps of the worked solution, length and returning terms, each a deviation within GSM8K."""
    lines = (data / "train" / "gsm8k_train.jsonl").read_text("utf-8").splitlines()
    problems = [problem for problem in map(json.loads, lines) if free(problem["question"])]
    say("GSM8K problems with worked solutions", len(problems))
    standard = standardize(observer.inputs([problem["question"] for problem in problems]), mean, scale)
    steps = np.log1p([problem["answer"].count("<<") for problem in problems])
    written = np.log1p([problem["answer"].count("\n") for problem in problems])
    model = Ridge(100.0).fit(standard, steps / steps.std() + written / written.std())
    weights = model.coef_ / (standard @ model.coef_).std()
    for name, sign in (("chars", 1.0), ("variety", -1.0)):
        weights[INDEX[name]] += sign / standard[:, INDEX[name]].std()
    weights /= (standard @ weights).std()
    effort: Array = np.append(weights, -(standard @ weights).mean()).astype(np.float32)
    return effort


def calibrate(
    raw: Heads,
    data: Path,
    observer: Observer,
    questions: Sequence[dict[str, str]],
    free: Callable[[str], bool],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Slope and intercept that turn the sum of the parts into log-odds of a strong model's being better.

    Every source counts the same; one slope over all of them together.
    """
    texts: list[str] = []
    wins: list[float] = []
    sources: list[str] = []
    for row in questions:
        texts.append(four_choices(row, rng))
        wins.append(float(float(row[STRONG] or 0) > float(row[WEAK] or 0)))
        sources.append("MMLU-Pro")
    for row in rows(data / "train" / "llmrouter_scores_9models.csv.gz"):
        if row["task"] in ROUTER_TASKS and free(row["question"]):
            texts.append(row["question"])
            wins.append(float(float(row[STRONG_ROUTER] or 0) > float(row[WEAK_ROUTER] or 0)))
            sources.append(row["task"])
    score = heads.judge(raw, observer.inputs(texts)).score
    counts = Counter(sources)
    weights = np.array([1.0 / counts[source] for source in sources])
    model = LogisticRegression(C=1e3, max_iter=1000).fit(
        score[:, None], np.array(wins), sample_weight=weights
    )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def default_threshold(weights: Heads, mixed: Array) -> float:
    """The score above which the share POWERFUL of the mixed prompts lies."""
    return heads.sigmoid(float(np.quantile(heads.judge(weights, mixed).score, 1.0 - POWERFUL)))


def say(what: str, value: object) -> None:
    """Print what is used."""
    sys.stdout.write(f"{what}: {dict(value) if isinstance(value, Counter) else value}\n")


def main() -> None:
    """Train, save, and say what was used."""
    parser = argparse.ArgumentParser(description="Train the classifier's heads on public data.")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with train/ and prompts/ (docs/data.md)"
    )
    parser.add_argument("--out", type=Path, default=COMMITTED, help="folder of the weights")
    parser.add_argument("--version", default="v1", help="name of the weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    check(options.data)
    try:
        heads.check_name(options.version)
    except ValueError as error:
        parser.error(f"--version: {error}")
    path = heads.save(train(options.data, options.seed, options.version), options.out)
    say("written", f"{path} ({path.stat().st_size / 1024:.0f} KiB)")


if __name__ == "__main__":
    main()
