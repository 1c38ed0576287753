"""What is counted is what its reason says: no look-alikes of it."""

import math
import re

import pytest

from services.classifier.embedding import Embedder
from services.classifier.features import COUNTED, INDEX, NAMES, observe
from services.classifier.numerals import numerals
from services.classifier.reading import Turn, read
from services.classifier.sayings import SAYINGS


def seen(embedder: Embedder, text: str, feature: str) -> float:
    value = float(observe(read([Turn("user", text)]), embedder).features[INDEX[feature]])
    return round(math.expm1(value) if feature in COUNTED else value, 3)


def test_whatever_is_said_is_counted() -> None:
    assert set(SAYINGS) <= set(NAMES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 boxes of 12 eggs at 4.50 each", ["3", "12", "4.50"]),
        ("Meet at 9:30 on 3 May 2024, or on May 5, 2025, or at 5 pm", []),
        ("By 22.11.2026, 2026-11-22 or 22/11/2026", []),
        ("um 9 Uhr am 3. März, vers 9h30 le 5 mai, el 5 de mayo", []),
        ("the 2nd time on the 31st", []),
        ("1. eggs\n2. 4 apples", ["4"]),
        ("10月5日の9時に3個", ["3"]),
        ("3월 5일 9시에 2시간", ["2"]),
        ("५ किलो", ["५"]),
    ],
)
def test_numbers_that_say_when_or_which_are_none_to_work_with(text: str, expected: list[str]) -> None:
    assert numerals(text, re.findall(r"[^\W\d]+", text.lower())) == expected


@pytest.mark.parametrize(
    ("feature", "text", "expected"),
    [
        ("operators", "x = 3 + 2*5", 3),
        ("operators", "C++ at 80 kg/dia, and/or **bold** on 22/11/2026, an A+ grade", 0),
        ("symbols", r"\int_0^1 x^2 dx \leq 1 for all y² and ∑", 5),
        ("symbols", r"C:\new\folder of 20 m² at 5° ± 2, 3 × 4 cm", 0),
        ("code_marks", "Our iPhone draws 3 kWh: A -> B.\nimport duties rise;\nreturn the form", 0),
        ("code_marks", "def f(x):\n    return g_one(x)\nif (x == 3) {", 5),
        ("question_marks", "why??", 1),
        ("question_marks", "see http://a.example/b?c=1 and say why? And how?", 2),
        ("question_marks", "为什么？怎么办？", 2),
        ("blank", "def __init__(self): ... and so on ....", 0),
        ("blank", "The capital of Peru is ____.", 1),
        ("length_asked", "Tell me in two sentences why bread rises", 1),
        ("length_asked", "Sag es in einem Satz", 1),
        ("length_asked", "用一句话总结这件事", 1),
        ("length_asked", "What does a word cost, and which line is it on?", 0),
        ("one_step", "name five painters", 1),
        ("one_step", "a sestina on loss, each stanza without another vowel", 0),
        ("greetings", "hi there", 1),
        ("greetings", "put a big hi into the middle of the banner that we hang up there", 0),
        ("facts", "the man who came and the one which stayed", 0),
        ("proof", "Beweise, dass die Wurzel aus 2 irrational ist", 1),
        ("weighing", "Сравни два договора", 1),
        ("correcting", "Korrigiere nur die Tippfehler", 1),
    ],
)
def test_look_alikes_do_not_count(embedder: Embedder, feature: str, text: str, expected: float) -> None:
    assert seen(embedder, text, feature) == expected
