"""Prompts with weak labels: what requests of known kinds look like.

The labels come from where a prompt was found, from words in its instruction, or from a person's reading of its name.
Every prompt carries its source, so that whole sources can be held out.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.classifier.training import phrases
from services.classifier.training.holdout import held_out

# Inside the folder of the data: what is trained on, and what results are reported on.
TRAINING = (
    "train/mmlu_pro_correctness.csv.gz", "train/llmrouter_scores_9models.csv.gz", "train/gsm8k_train.jsonl",
    "prompts/HumanEval.jsonl.gz", "prompts/arena_hard_v0.1_question.jsonl",
    "prompts/self_instruct_seed_tasks.jsonl", "prompts/self_instruct_user_oriented.jsonl",
)  # fmt: skip
DEVELOPMENT = {"GSM8K": "dev/gsm8k_half.csv.gz", "MMLU": "dev/mmlu_half_subjects.csv.gz"}
# Prompts taken of one source and category, so that none outweighs the others.
MOST = 600
OWN = "own"

# The 175 seed tasks of self-instruct in their order, one letter each.
LETTERS = {
    "c": "chat", "f": "factual question", "w": "writing", "s": "summarization", "t": "translation", "x": "extraction",
    "k": "code", "m": "math", "r": "reasoning", "n": "science", "p": "planning", "o": "other",
}  # fmt: skip
SEEDS = (
    "orfowopfwoopoxwrfpwfwmmppmxokwokfocmfkfxpkwwomowfwkwpxowfwmwfkswsfoxckppkowwwoxwcpwmwxwofwfpfwxnwwwf"
    "wtnnoorfxmmfwowxwtwwopxfwpwpfwrpxfoxmskkkkofmpffxoxxooxrxxkxffxrmxxxrxxxxof"
)

# Words of an instruction that show its category; the first match wins.
RULES = tuple(
    (category, re.compile(pattern, re.IGNORECASE))
    for category, pattern in (
        ("translation", r"\btranslat|second language"),
        ("code", r"\bcode|coding|\bbash\b|regex|\bjava\b|python|\bruby\b|html|\bcss\b|excel|formula|algorithm|programming|bugs?\b|github|sql"),
        ("math", r"equation|\bprove\b|\bcalculate|\btip\b|nth term|verify the correctness"),
        ("summarization", r"summar|\bbrief|condense|capture the main"),
        ("writing", r"\bwrite\b|rewrite|rephrase|paraphrase|\bcompos|\be-?mail|\bpost\b|\bstory|improve|\btone\b|tagline|motto|\bresume\b|cover|correct|capitalize|\bprofile\b|creative|slogan|\bad\b|advert|description that|expand the"),
        ("extraction", r"classif|categor|extract|sentiment|decide (?:whether|if|which)|identify|determine|predict|detect|check if|label|table|indicate"),
        ("planning", r"\bplan|itinerary|schedul|agenda|to-do|recipe|\bsteps\b|syllabus|routine|prepare|instructions|challenge|dinner|make a list of the materials"),
        ("factual question", r"answer the|define|meaning|part of speech|antonym|synonym|origin|what (?:is|are|does)|history|explain"),
    )
)  # fmt: skip
# Names of Arena-Hard's clusters, the first match wins.
CLUSTERS = tuple(
    (category, re.compile(pattern, re.IGNORECASE))
    for category, pattern in (
        ("math", r"algebra|mathemat|probabilit|triangle|irrational|dice|standard deviation|real analysis|investment growth|math problems|sample size|ticket pricing|draws ball|number theory|prime and perfect"),
        ("reasoning", r"puzzle|relationships & interactions|comparative truths|situation|pattern completion|cube, shaking"),
        ("planning", r"meal planning|race training|startup business planning|retrieval plan"),
        ("code", r"python|\bcode\b|coding|c\+\+|css|javascript|typescript|react|\bsql\b|docker|kubernetes|django|flask|rust|kotlin|php|laravel|linux|regex|\bapi|script|scraping|algorithm|array|linked list|excel (?:column|vba)|matplotlib|pytorch|git\b|node|cuda|html|tailwind|swift|symfony|streamlit|shiny|tidyverse|tkinter|wpf|cron|awk|assembly|ffmpeg|svg|hdl|shader|concurrency|testing|app development|android|nix|odoo|roblox|discord|spark|aws|development"),
        ("science", r"electromagnetic|medical|circular motion|water waves|sensor|radar"),
        ("writing", r"satire|rpg creation|slide creation|expert panel|sequence puzzles|product reinvention"),
    )
)  # fmt: skip
# Tasks of LLMRouter's scores; the others are of no single kind.
TASKS = {
    "trivia_qa": "factual question",
    "natural_qa": "factual question",
    "openbook_qa": "science",
    "arc_challenge": "science",
    "gpqa": "science",
    "math": "math",
    "mbpp": "code",
    "human_eval": "code",
    "agentverse-logicgrid": "reasoning",
}
# Categories of MMLU-Pro; business and economics calculate as often as not, and say little.
FIELDS = {
    "chemistry": "science",
    "engineering": "science",
    "physics": "science",
    "biology": "science",
    "math": "math",
    "psychology": "factual question",
}
# Tasks of BIG-Bench Hard.
HARD_TASKS = {
    "boolean_expressions": "reasoning",
    "causal_judgement": "reasoning",
    "date_understanding": "reasoning",
    "disambiguation_qa": "reasoning",
    "dyck_languages": "reasoning",
    "formal_fallacies": "reasoning",
    "geometric_shapes": "reasoning",
    "logical_deduction_five_objects": "reasoning",
    "logical_deduction_seven_objects": "reasoning",
    "logical_deduction_three_objects": "reasoning",
    "multistep_arithmetic_two": "math",
    "navigate": "reasoning",
    "object_counting": "math",
    "penguins_in_a_table": "reasoning",
    "reasoning_about_colored_objects": "reasoning",
    "temporal_sequences": "reasoning",
    "tracking_shuffled_objects_five_objects": "reasoning",
    "tracking_shuffled_objects_three_objects": "reasoning",
    "web_of_lies": "reasoning",
    "movie_recommendation": "other",
    "word_sorting": "extraction",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, where it is from, and what it is; an empty label is unknown."""

    text: str
    source: str
    category: str = ""
    subject: str = ""


def check(data: Path) -> None:
    """Exit when files are missing: without those of development, nothing would be kept out of training."""
    missing = [name for name in (*TRAINING, *DEVELOPMENT.values()) if not (data / name).is_file()]
    if missing:
        raise SystemExit(f"{data} lacks {', '.join(missing)}; docs/data.md says where they come from")


def labelled(data: Path, seed: int) -> list[Example]:
    """All prompts with a category or a subject that may be trained on, at most MOST of each source and category."""
    counts: dict[tuple[str, str, str], int] = {}
    kept = []
    for example in _all(data, seed):
        key = (example.source, example.category, example.subject)
        if example.source != OWN and held_out(example.text):
            continue
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= MOST:
            kept.append(example)
    return kept


def _all(data: Path, seed: int) -> Iterator[Example]:
    for text, category in phrases.requests(650, seed):
        yield Example(text, OWN, category, NO_SUBJECT.get(category, ""))
    for text, subject in phrases.subject_questions():
        yield Example(text, OWN, "", subject)
    for number, row in enumerate(rows(data / "train" / "mmlu_pro_correctness.csv.gz")):
        # Every other question comes with its choices, so that a list of choices is no kind of task.
        text = f"{row['question']}\n{row['options']}" if number % 2 else row["question"]
        yield Example(text, "MMLU-Pro", FIELDS.get(row["category"], ""), row["category"])
    for row in rows(data / "train" / "llmrouter_scores_9models.csv.gz"):
        category = TASKS.get(row["task"], "")
        if category and row["task"] != "human_eval":
            yield Example(row["question"], f"LLMRouter {row['task']}", category, NO_SUBJECT.get(category, ""))
    for line in (data / "train" / "gsm8k_train.jsonl").read_text("utf-8").splitlines():
        yield Example(json.loads(line)["question"], "GSM8K", "math", "math")
    yield from _prompts(data / "prompts")


# Kinds of tasks that belong to no academic subject.
NO_SUBJECT = dict.fromkeys(("chat", "writing", "summarization", "translation", "extraction", "planning", "factual question", "other", "reasoning"), "none") | {"math": "math"}  # fmt: skip


def _prompts(folder: Path) -> Iterator[Example]:
    with gzip.open(folder / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Example(json.loads(line)["prompt"], "HumanEval", "code", "none")
    for line in (folder / "arena_hard_v0.1_question.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if category := _match(CLUSTERS, row["cluster"]):
            yield Example(row["prompt"], "Arena-Hard", category)
    seeds = (folder / "self_instruct_seed_tasks.jsonl").read_text("utf-8").splitlines()
    for letter, line in zip(SEEDS, seeds, strict=True):
        category = LETTERS[letter]
        yield Example(
            instruction(json.loads(line)), "self-instruct seeds", category, NO_SUBJECT.get(category, "")
        )
    for line in (folder / "self_instruct_user_oriented.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        kind = _match(RULES, row["instruction"]) or "other"
        yield Example(instruction(row), "self-instruct users", kind, NO_SUBJECT.get(kind, ""))
    for path in sorted((folder / "bbh").glob("*.json")):
        hard = HARD_TASKS.get(path.stem, "")
        if hard:
            for row in json.loads(path.read_text("utf-8"))["examples"][:60]:
                yield Example(row["input"], "BIG-Bench Hard", hard)


def instruction(row: dict[str, object]) -> str:
    """A task of self-instruct as a user would send it: the instruction, then the first input."""
    instances = row["instances"]
    given = instances[0]["input"] if isinstance(instances, list) and instances else ""
    return f"{row['instruction']}\n\n{given}".strip()


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a compressed table; cells may be of any length."""
    csv.field_size_limit(10**9)
    with gzip.open(path) as raw:
        return list(csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline="")))


def _match(rules: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str:
    return next((category for category, pattern in rules if pattern.search(text)), "")
