"""The weights: what is refused before it can judge anything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.classifier import heads
from services.classifier.heads import Heads

ARRAYS = ("mean", "scale", "inputs", "biases", "embedding_mean", "embedding_scale", "exam", "effort")
NUMBERS = ("exam_bias", "effort_bias", "effort_weight", "threshold")


@pytest.mark.parametrize("score", [-1e9, -800.0, -745.2, -1.0, 0.0, 1.0, 800.0, 1e9])
def test_any_score_has_a_probability(score: float) -> None:
    assert 0.0 <= heads.sigmoid(score) <= 1.0
    assert heads.sigmoid(score) + heads.sigmoid(-score) == pytest.approx(1.0)


def test_a_probability_is_that_of_the_odds() -> None:
    assert heads.sigmoid(float(np.log(3))) == pytest.approx(0.75)
    assert heads.sigmoid(float(-np.log(3))) == pytest.approx(0.25)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
@pytest.mark.parametrize("name", [*ARRAYS, *NUMBERS])
def test_weights_that_are_no_numbers_are_refused(weights: Heads, name: str, value: float) -> None:
    changed: Any = value
    if name in ARRAYS:
        changed = getattr(weights, name).copy()
        changed.flat[-1] = value
    with pytest.raises(ValueError, match=f"weights v1: {name} holds"):
        replace(weights, **{name: changed})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("name", ["scales", "rarity"])
def test_tables_that_hold_no_numbers_are_refused(weights: Heads, name: str, value: float) -> None:
    whole, *ends = weights.tables
    changed = getattr(whole, name).astype(np.float32)
    changed.flat[0] = value
    with pytest.raises(ValueError, match="of whole holds"):
        replace(weights, tables=(replace(whole, **{name: changed}), *ends))


def test_tables_for_other_heads_are_refused(weights: Heads) -> None:
    with pytest.raises(ValueError, match="other heads"):
        replace(weights, tables=weights.tables[::-1])


def test_a_scale_of_zero_is_refused(weights: Heads) -> None:
    scale = weights.scale.copy()
    scale[3] = 0.0
    with pytest.raises(ValueError, match="scale holds"):
        replace(weights, scale=scale)


@pytest.mark.parametrize("name", ["v1", "2026-11.mine_b", "_x", "-", "a" * 64])
def test_letters_digits_dots_dashes_and_underscores_make_a_name(name: str) -> None:
    assert heads.check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "../a", "a\\b", "a b", "a\n", "ü", "a" * 65])
def test_a_name_that_is_a_path_or_no_name_is_refused(weights: Heads, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a version"):
        heads.save(replace(weights, version=name), tmp_path)
    assert not list(tmp_path.parent.glob("*.npz"))


def whole() -> bytes:
    return (heads.COMMITTED / "v1.npz").read_bytes()


def with_flipped_bytes(place: int) -> bytes:
    content = bytearray(whole())
    content[place : place + 40] = bytes(255 - byte for byte in content[place : place + 40])
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"{}",
        b"\x93NUMPY\x01\x00",
        whole()[:-100],
        whole()[:5000],
        with_flipped_bytes(30),
        with_flipped_bytes(9000),
        with_flipped_bytes(len(whole()) - 300),
    ],
    ids=["empty", "start", "text", "array", "end missing", "cut", "header", "middle", "directory"],
)
def test_a_file_that_holds_no_weights_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"mine\.npz cannot be read as weights .*: put a good copy there"):
        heads.load(path)


def test_a_plain_array_and_an_archive_of_something_else_hold_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        heads.load(path)

    np.savez(path, about=np.frombuffer(b'{"threshold": 1}', np.uint8))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        heads.load(path)


def test_a_version_that_is_not_there_is_not_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        heads.load(tmp_path / "gone.npz")
