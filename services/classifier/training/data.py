"""The public data on outcomes of models, in a folder outside of the repository (docs/data.md)."""

import csv
import gzip
import io
from pathlib import Path

# What is trained on, and what results are reported on.
TRAINING = ("train/mmlu_pro_correctness.csv.gz", "train/gsm8k_train.jsonl")
DEVELOPMENT = {"GSM8K": "dev/gsm8k_half.csv.gz", "MMLU": "dev/mmlu_half_subjects.csv.gz"}


def check(data: Path) -> None:
    """Exit when files are missing: without those of development, nothing would be kept out of training."""
    missing = [name for name in (*TRAINING, *DEVELOPMENT.values()) if not (data / name).is_file()]
    if missing:
        raise SystemExit(f"{data} lacks {', '.join(missing)}; docs/data.md says where they come from")


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a compressed table; cells may be of any length."""
    csv.field_size_limit(10**9)
    with gzip.open(path) as raw:
        return list(csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline="")))
