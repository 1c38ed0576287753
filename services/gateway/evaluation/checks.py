"""What tells a right answer from a wrong one without asking anybody, as docs/evaluation.md describes."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.evaluation import texts
from services.gateway.evaluation.format_rules import Rule

# Runs code and its tests: what failed, empty where nothing did.
RunCode = Callable[[str, str], str]
# A longer answer is cut before it is looked at; regular expressions would take too long.
MOST_CHARACTERS = 100_000


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Number(_Check):
    """The last number of the answer is within a tolerance of a value."""

    kind: Literal["number"]
    value: float
    tolerance: Annotated[float, Field(ge=0)] = 0.0

    def fault(self, answer: str, run_code: RunCode) -> str:  # noqa: ARG002  (one shape for all)
        """Why the answer fails; empty where it passes."""
        found = texts.last_number(answer)
        if found is None:
            return "no number in the answer"
        # A tolerance of 0.01 takes 0.1 + 0.2 for 0.31, whatever binary fractions make of it.
        within = abs(found - self.value) <= self.tolerance + 1e-9 * max(1.0, abs(self.value))
        return "" if within else f"{found:g}, expected {self.value:g}"


class Text(_Check):
    """The answer holds one of some texts as whole words, and none of some others."""

    kind: Literal["text"]
    any_of: Annotated[list[str], Field(min_length=1)]
    none_of: list[str] = []

    def fault(self, answer: str, run_code: RunCode) -> str:  # noqa: ARG002
        """Why the answer fails; empty where it passes."""
        said = texts.plain(answer)
        if not any(texts.holds(said, texts.plain(one)) for one in self.any_of):
            return f"none of {', '.join(self.any_of)}"
        present = [one for one in self.none_of if texts.holds(said, texts.plain(one))]
        return f"contains {', '.join(present)}" if present else ""


class LastLine(_Check):
    """The last line of the answer equals one of some texts."""

    kind: Literal["last_line"]
    any_of: Annotated[list[str], Field(min_length=1)]

    def fault(self, answer: str, run_code: RunCode) -> str:  # noqa: ARG002
        """Why the answer fails; empty where it passes."""
        said = texts.last_line(answer)
        return "" if said in {texts.line(one) for one in self.any_of} else f"the last line is {said[:80]!r}"


class Json(_Check):
    """The one JSON value of the answer equals a value."""

    kind: Literal["json"]
    equals: Any

    def fault(self, answer: str, run_code: RunCode) -> str:  # noqa: ARG002
        """Why the answer fails; empty where it passes."""
        try:
            same = texts.same_json(texts.json_value(answer), self.equals)
        except (ValueError, RecursionError) as error:
            return str(error)
        return "" if same else "another JSON value"


class Code(_Check):
    """The answer's Python passes tests."""

    kind: Literal["code"]
    language: Literal["python"] = "python"
    tests: Annotated[str, Field(min_length=1)]

    def fault(self, answer: str, run_code: RunCode) -> str:
        """Why the answer fails; empty where it passes."""
        return run_code(texts.code(answer), self.tests)


class Format(_Check):
    """The answer keeps rules of form."""

    kind: Literal["format"]
    rules: Annotated[list[Rule], Field(min_length=1)]

    def fault(self, answer: str, run_code: RunCode) -> str:  # noqa: ARG002
        """Why the answer fails; empty where it passes."""
        return "; ".join(broken for rule in self.rules if (broken := rule.broken(answer)))


class Judge(_Check):
    """Nothing but another model's opinion tells: what a good answer has, and what disqualifies it."""

    kind: Literal["judge"]
    criteria: Annotated[str, Field(min_length=1)]


class All(_Check):
    """Several checks at once; at most one of them is a judge's."""

    kind: Literal["all"]
    checks: Annotated[
        list[Annotated[Number | Text | LastLine | Json | Code | Format | Judge, Field(discriminator="kind")]],
        Field(min_length=1),
    ]

    def fault(self, answer: str, run_code: RunCode) -> str:
        """Why the answer fails those that no judge is needed for; empty where it passes them."""
        for check in self.checks:
            if not isinstance(check, Judge) and (found := check.fault(answer, run_code)):
                return found
        return ""


Check = Annotated[Number | Text | LastLine | Json | Code | Format | Judge | All, Field(discriminator="kind")]


def fault(check: Check, answer: str, run_code: RunCode) -> str:
    """Why an answer fails what can be checked of it; empty where it passes."""
    return "" if isinstance(check, Judge) else check.fault(answer[:MOST_CHARACTERS], run_code)


def criteria(check: Check) -> str:
    """What a judge has to look at; empty where none is needed."""
    parts = check.checks if isinstance(check, All) else [check]
    return " ".join(part.criteria for part in parts if isinstance(part, Judge))


def runs_code(check: Check) -> bool:
    """Whether the check runs what the model wrote."""
    parts = check.checks if isinstance(check, All) else [check]
    return any(isinstance(part, Code) for part in parts)
