"""What follows from each class of error."""

from pathlib import Path

from services.executor.attempts.retry import RULES
from services.executor.engines.outcomes import ErrorClass, classify


def test_a_mistake_of_a_caller_trips_no_breaker_and_is_never_retried() -> None:
    for status in (400, 404, 409, 413, 418, 422):
        rule = RULES[classify(status, "")]
        assert not rule.trips
        assert not rule.retry


def test_every_class_has_its_rule_and_its_line_in_the_documentation() -> None:
    document = (Path(__file__).parents[3] / "docs" / "executor.md").read_text()
    for error in ErrorClass:
        rule = RULES[error]
        answers = " | ".join("yes" if answer else "no" for answer in (rule.retry, rule.fall_back, rule.trips))
        assert f"| `{error}` | {rule.meaning} | {answers} |" in document
