"""Each kind of check tells right answers from wrong ones, in the ways that models write them."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.gateway.evaluation import checks, texts
from services.gateway.evaluation.format_rules import sentences

READ: TypeAdapter[checks.Check] = TypeAdapter(checks.Check)


def no_code(source: str, tests: str) -> str:
    raise AssertionError("nothing here runs code")


def passes(check: dict[str, Any], answer: str) -> bool:
    return not checks.fault(READ.validate_python(check), answer, no_code)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("It is 42.", 42),
        ("First 3, then **1,234.50 USD**.", 1234.5),
        ("\\boxed{-7}", -7),
        ("\u22123.5 °C", -3.5),
        ("between 10-12", 12),
        ("x = 5 - 2 = 3", 3),
        ("6.02e23 particles", 6.02e23),
        ("12\u202f345\u202f678", 12345678),
        ("= .25", 0.25),
        ("12 m2", 12),
        ("about 3 kg of CO2", 3),
        ("17 (see step2)", 17),
        ("-$1,234.50", -1234.5),
        ("$-5", -5),
        ("\u201340 °C", -40),
        ("pages 10\u201312", 12),
        ("12\u2009345", 12345),
        ("\\boxed{1{,}234}", 1234),
        ("{7}", 7),
        ("none", None),
    ],
)
def test_the_last_number_is_found(answer: str, number: float | None) -> None:
    assert number == texts.last_number(answer)


def test_a_number_is_right_within_its_tolerance() -> None:
    check = {"kind": "number", "value": 0.3, "tolerance": 0.01}

    assert passes(check, "0.31")
    assert not passes(check, "0.32")
    assert not passes(check, "a third")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The capital is CANBERRA.", True),
        ("São Tomé", True),
        ("Canberras", False),
        ("Canberra, not Sydney", False),
        ("东京是首都", True),
        ("", False),
    ],
)
def test_a_text_holds_whole_words_whatever_case_and_accents(answer: str, right: bool) -> None:
    check = {"kind": "text", "any_of": ["Canberra", "sao tome", "东京"], "none_of": ["sydney"]}

    assert right == passes(check, answer)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Because of that.\n\n**Answer: B**\n", True),
        ("Final answer: (b).", True),
        ("B) is right because\nof this", False),
        ("The answer is option B", True),
        ("A", False),
        ("", False),
    ],
)
def test_the_last_line_is_one_of_the_answers(answer: str, right: bool) -> None:
    assert right == passes({"kind": "last_line", "any_of": ["B", "option B"]}, answer)


def test_a_last_line_keeps_signs_and_points_of_numbers() -> None:
    assert passes({"kind": "last_line", "any_of": ["-3.5"]}, "Answer: -3.5.")
    assert not passes({"kind": "last_line", "any_of": ["-3.5"]}, "3.5")
    assert not passes({"kind": "last_line", "any_of": ["35"]}, "3.5")
    assert passes({"kind": "last_line", "any_of": ["a, b"]}, "Answer: a b")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"b": [1.0, true], "a": "x"}', True),
        ('Here it is:\n```json\n{"a": "x", "b": [1, true]}\n```\nDone.', True),
        ('The object is {"a": "x", "b": [1, true]}.', True),
        ('{"a": "x", "b": [true, 1]}', False),
        ('{"a": "x", "b": [1, 1]}', False),
        ('{"a": "x", "b": [1, true]} or {"a": "y"}', False),
        ('{"a": "x", "b": [1, NaN]}', False),
        ("no json", False),
        ("[" * 100_000, False),
    ],
)
def test_the_one_json_value_is_equal(answer: str, right: bool) -> None:
    assert right == passes({"kind": "json", "equals": {"a": "x", "b": [1, True]}}, answer)


@pytest.mark.parametrize("value", [30, 1.5, -2])
@pytest.mark.parametrize("said", ["1e999", "-1e999", "1" + "0" * 309, "1" + "0" * 5000, "1e308"])
def test_a_json_number_beyond_floats_is_another_value(said: str, value: float) -> None:
    assert not passes({"kind": "json", "equals": {"days": value}}, f'{{"days": {said}}}')


def test_json_numbers_are_equal_by_value() -> None:
    large = 10**400

    assert passes({"kind": "json", "equals": large}, str(large))
    assert not passes({"kind": "json", "equals": large}, str(large + 1))
    assert passes({"kind": "json", "equals": 0.3}, str(0.1 + 0.2))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("def f(): ...", "def f(): ..."),
        (
            "So:\n```python\nx = 1\n```\nUse it:\n```python\ny = 2\n```\n```bash\npip x\n```",
            "x = 1\n\ny = 2\n",
        ),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nThe output:\n```python\n>>> x\n```", "x = 1\n"),
    ],
)
def test_the_code_of_an_answer_is_what_its_python_blocks_hold(answer: str, code: str) -> None:
    assert code == texts.code(answer)


def test_code_is_run_with_its_tests() -> None:
    ran: list[tuple[str, str]] = []

    def run(source: str, tests: str) -> str:
        ran.append((source, tests))
        return "AssertionError"

    check = READ.validate_python({"kind": "code", "language": "python", "tests": "assert f(1)"})
    assert "AssertionError" == checks.fault(check, "```py\nf = int\n```", run)
    assert [("f = int\n", "assert f(1)")] == ran
    assert checks.runs_code(check)


@pytest.mark.parametrize(
    ("rule", "kept", "broken"),
    [
        ({"lines": 2}, "a\n\nb\n", "a"),
        ({"words": [2, 3]}, "two - words", "one"),
        ({"sentences": [2, 2]}, "One, e.g. this. Two!", "One."),
        ({"characters": [0, 3]}, " abc ", "abcd"),
        ({"contains": ["Alpha", "b"]}, "ALPHA b", "alpha"),
        ({"lacks": ["e"]}, "no such sign", "here"),
        ({"starts_with": "Dear"}, "Dear A", "My dear A"),
        ({"ends_with": "."}, "End.\n", "End"),
        ({"each_line_matches": r"^- \w"}, "- a\n- b", "- a\nb"),
        ({"acrostic": "HI"}, "how\nis", "how\nare"),
    ],
)
def test_a_rule_of_form_is_kept_or_broken(rule: dict[str, Any], kept: str, broken: str) -> None:
    check = {"kind": "format", "rules": [rule]}

    assert passes(check, kept)
    assert not passes(check, broken)


def test_sentences_end_in_other_scripts_too() -> None:
    assert 2 == sentences("你好。再见。")
    assert 3 == sentences('He said "No." Then he left. Why')


def test_all_must_pass_and_a_judge_is_asked_for_the_rest() -> None:
    check = READ.validate_python(
        {
            "kind": "all",
            "checks": [
                {"kind": "format", "rules": [{"lines": 1}]},
                {"kind": "judge", "criteria": "It is kind."},
            ],
        }
    )

    assert "" == checks.fault(check, "one", no_code)
    assert "2 lines, expected 1" == checks.fault(check, "one\ntwo", no_code)
    assert "It is kind." == checks.criteria(check)
    assert "" == checks.criteria(READ.validate_python({"kind": "number", "value": 1}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "guess"},
        {"kind": "number"},
        {"kind": "number", "value": 1, "tolerance": -1},
        {"kind": "text", "any_of": []},
        {"kind": "code", "language": "perl", "tests": "1"},
        {"kind": "format", "rules": [{"words": [3, 2]}]},
        {"kind": "format", "rules": [{"words": [1, 2], "lines": 1}]},
        {"kind": "format", "rules": [{"each_line_matches": "("}]},
        {"kind": "text", "any_of": ["a"], "anyof": ["b"]},
    ],
)
def test_a_check_that_is_spelt_wrong_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(wrong)
