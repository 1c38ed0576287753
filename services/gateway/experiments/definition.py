"""What an experiment is: which requests take part, what its variants change, and what is wanted of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from services.chassis.errors import Invalid
from services.chassis.strategies import STRATEGIES
from services.gateway.experiments import rollout
from services.gateway.experiments.conclusion import COST, GOALS, Guardrails
from services.gateway.experiments.rollout import Rollout
from services.gateway.prompts import reference
from services.gateway.requests import fields
from services.gateway.requests.hints import NAME

MOST_VARIANTS = 8
MOST_NAMES = 64
LONGEST_LATENCY_MS = 3_600_000
TIERS = ("fast", "powerful")
# What a variant may set beside the version of a prompt, which says all of this itself.
SETS = ("model", "strategy", "powerful_share", "tier", "access_groups", "parameters")
LARGEST_WEIGHT = 1000
# Parameters of a chat completion that a variant may set.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
LARGEST_CAP = 2**31
OUTPUT_CAP = "max_completion_tokens"
PARAMETERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "reasoning_effort", OUTPUT_CAP)


class Sticky(StrEnum):
    """Who stays with one variant."""

    USER = "user"
    KEY = "key"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Variant:
    """What becomes of a share of the requests; one that sets nothing leaves them as they are.

    Attributes:
        name: Its name.
        weight: Its share, beside the weights of the others.
        prompt_version: Which version of the experiment's prompt is used: a number, a label or latest.
        model: The model or group that answers.
        strategy: The strategy of the selection.
        powerful_share: The share of requests that may go to powerful models.
        tier: The tier that answers: fast or powerful.
        access_groups: The groups of models that may answer, in place of the plan's.
        parameters: Of a chat completion, such as temperature.

    """

    name: str
    weight: float = 1.0
    prompt_version: str = ""
    model: str = ""
    strategy: str = ""
    powerful_share: float | None = None
    tier: str = ""
    access_groups: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """An experiment as an admin describes it.

    Attributes:
        name: Its name.
        variants: The first one is the control.
        organization_id: Whose keys alone take part; empty is everybody's.
        plans: The plans whose keys take part; none are all.
        prompt: The stored prompt that it is about; empty where its variants set no versions.
        model: What requests ask for that take part: auto, a name, or * for whatever they ask for.
        sticky: Who stays with one variant.
        goal: The metric that decides who wins.
        guardrails: When a variant is stopped.
        rollout: By which steps the one variant takes over from the control; None where weights divide requests.

    """

    name: str
    variants: tuple[Variant, ...]
    organization_id: str = ""
    plans: tuple[str, ...] = ()
    prompt: str = ""
    model: str = "auto"
    sticky: Sticky = Sticky.USER
    goal: str = COST.name
    guardrails: Guardrails = field(default_factory=Guardrails)
    rollout: Rollout | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variants, the control's first."""
        return tuple(one.name for one in self.variants)

    @property
    def given(self) -> dict[str, Any]:
        """As JSON, which `parse` reads."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def parse(given: Any) -> Definition:
    """Check what an admin gives.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = _known(given, "", tuple(Definition.__dataclass_fields__))
    prompt = _text(body, "prompt")
    if prompt and not reference.NAME.fullmatch(prompt):
        raise Invalid("prompt: expected the name of a prompt, without a version", param="prompt")
    variants = body.get("variants")
    if not isinstance(variants, list) or not 2 <= len(variants) <= MOST_VARIANTS:
        raise Invalid(
            f"variants: expected a list of 2 to {MOST_VARIANTS}, the control first", param="variants"
        )
    parsed = tuple(variant(one, f"variants[{i}]", prompt) for i, one in enumerate(variants))
    names = [one.name for one in parsed]
    if len(set(names)) < len(names):
        raise Invalid("variants: expected names that differ", param="variants")
    steps = rollout.parse(body.get("rollout"))
    if steps is not None and (len(parsed) != 2 or any(one.weight != 1 for one in parsed)):
        raise Invalid(
            "rollout: expected two variants without weights, the control first: steps divide the requests",
            param="rollout",
        )
    for name, words in (("sticky", tuple(Sticky)), ("goal", GOALS)):
        fields.one_of(body, name, words)
    return Definition(
        name=_name(body, "name"),
        variants=parsed,
        organization_id=_text(body, "organization_id"),
        plans=_names(body, "plans"),
        prompt=prompt,
        model=_text(body, "model") or "auto",
        sticky=Sticky(body.get("sticky") or (Sticky.USER if steps is None else Sticky.KEY)),
        goal=body.get("goal") or COST.name,
        guardrails=_guardrails(body.get("guardrails")),
        rollout=steps,
    )


def variant(given: Any, place: str, prompt: str = "") -> Variant:
    """Check what becomes of a request.

    Args:
        given: As an operator gives it.
        place: Where it stands, for mistakes.
        prompt: The stored prompt that it is about; empty where it is about none.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = _known(given, place, tuple(Variant.__dataclass_fields__))
    weight = _number(body, "weight", place, 0, LARGEST_WEIGHT)
    if weight == 0:
        raise Invalid(f"{place}.weight: expected more than 0", param=f"{place}.weight")
    if body.get("strategy") not in (None, "", *STRATEGIES):
        raise Invalid(f"{place}.strategy: expected one of {', '.join(STRATEGIES)}", param=f"{place}.strategy")
    version = _text(body, "prompt_version", place)
    if body.get("tier") not in (None, "", *TIERS):
        raise Invalid(f"{place}.tier: expected one of {', '.join(TIERS)}", param=f"{place}.tier")
    sets = [name for name in SETS if body.get(name)]
    if prompt and sets:
        raise Invalid(
            f"{place}.{sets[0]}: in an experiment about a prompt a variant names a version, which says the rest",
            param=f"{place}.{sets[0]}",
        )
    if bool(version) != bool(prompt):
        raise Invalid(
            f"{place}.prompt_version: expected where the experiment names a prompt, and nowhere else",
            param=f"{place}.prompt_version",
        )
    if version:
        reference.parse(prompt, version, f"{place}.prompt_version")
    return Variant(
        name=_name(body, "name", place),
        weight=1.0 if weight is None else weight,
        prompt_version=version,
        model=_text(body, "model", place),
        strategy=_text(body, "strategy", place),
        powerful_share=_number(body, "powerful_share", place, 0, 1),
        tier=body.get("tier") or "",
        access_groups=_names(body, "access_groups", place),
        parameters=_parameters(body.get("parameters") or {}, f"{place}.parameters"),
    )


def _parameters(given: Any, place: str) -> dict[str, Any]:
    body = _known(given, place, PARAMETERS)
    _number(body, "temperature", place, 0, 2)
    _number(body, "top_p", place, 0, 1)
    for name in ("frequency_penalty", "presence_penalty"):
        _number(body, name, place, -2, 2)
    if body.get("reasoning_effort") not in (None, *EFFORTS):
        path = f"{place}.reasoning_effort"
        raise Invalid(f"{path}: expected one of {', '.join(EFFORTS)}", param=path)
    cap = body.get(OUTPUT_CAP)
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or not 1 <= cap <= LARGEST_CAP):
        path = f"{place}.{OUTPUT_CAP}"
        raise Invalid(f"{path}: expected a whole number from 1 to {LARGEST_CAP}", param=path)
    return {name: value for name, value in body.items() if value is not None}


def _guardrails(given: Any) -> Guardrails:
    if given is None:
        return Guardrails()
    body = _known(given, "guardrails", tuple(Guardrails.__dataclass_fields__))
    _number(body, "error_increase", "guardrails", 0, 1)
    _number(body, "cost_increase", "guardrails", 0, 1000)
    _number(body, "latency_increase", "guardrails", 0, 1000)
    _number(body, "error_most", "guardrails", 0, 1)
    _number(body, "latency_p90_ms", "guardrails", 1, LONGEST_LATENCY_MS)
    return Guardrails(**body)


def _known(given: Any, place: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Invalid(f"{place or 'experiment'}: expected an object", param=place or None)
    for name in given:
        if name not in known:
            path = f"{place}.{name[:64]}" if place else name[:64]
            raise Invalid(f"{path}: unknown; expected one of {', '.join(known)}", param=path)
    return given


def _text(body: dict[str, Any], name: str, place: str = "") -> str:
    value = body.get(name) or ""
    path = f"{place}.{name}" if place else name
    if value and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise Invalid(f"{path}: expected a short text", param=path)
    return str(value)


def _names(body: dict[str, Any], name: str, place: str = "") -> tuple[str, ...]:
    values = body.get(name) or []
    path = f"{place}.{name}" if place else name
    if (
        not isinstance(values, list | tuple)
        or len(values) > MOST_NAMES
        or not all(isinstance(one, str) and NAME.fullmatch(one) for one in values)
    ):
        raise Invalid(f"{path}: expected a list of at most {MOST_NAMES} names", param=path)
    return tuple(values)


def _name(body: dict[str, Any], name: str, place: str = "") -> str:
    value = body.get(name)
    path = f"{place}.{name}" if place else name
    if not isinstance(value, str) or not reference.LABEL.fullmatch(value):
        raise Invalid(
            f"{path}: expected 1 to 64 small letters, digits, _ and -, beginning with a letter", param=path
        )
    return value


def _number(body: dict[str, Any], name: str, place: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    path = f"{place}.{name}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Invalid(f"{path}: expected a number from {low:g} to {high:g}", param=path)
    return float(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
