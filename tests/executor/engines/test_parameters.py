"""Parameters that a model does not take: left out where they change nothing, else a reason to ask another model."""

from typing import Any

import pytest

from services.chassis.deployments import Deployment
from services.chassis.prices import FREE
from services.executor.engines import parameters
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.parameters import fitted, without

MESSAGES = [{"role": "user", "content": "hi"}]


def model(provider: str, name: str) -> Deployment:
    return Deployment(id=name, model=name, provider=provider, litellm_model=name, price=FREE)


HAIKU = model("anthropic", "claude-haiku-5-5")
LUNA = model("openai", "gpt-6-luna")
CEREBRAS = model("cerebras", "gpt-oss-120b")
GEMINI = model("gemini", "gemini-2.5-flash")


def fit(deployment: Deployment, settings: dict[str, Any] | None = None, **body: Any) -> Any:
    rest: dict[str, Any] = {
        name: body.pop(name) for name in ("metadata", "prompt_cache_retention") if name in body
    }
    arguments, left, dropped = fitted(deployment, {"messages": MESSAGES, **body}, rest, settings or {})
    assert MESSAGES == arguments.pop("messages")
    return {**arguments, **left}, dropped


@pytest.mark.parametrize(
    ("deployment", "name"),
    [(HAIKU, "top_k"), (HAIKU, "cache_control"), (GEMINI, "top_k"), (GEMINI, "safety_settings")],
)
def test_what_a_format_of_its_own_has_beyond_openais_is_sent(deployment: Deployment, name: str) -> None:
    sent: dict[str, Any] = {name: 5}
    assert (sent, ()) == fit(deployment, **sent)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", False),
        ("prompt_cache_key", "k"),
        ("prompt_cache_retention", "24h"),
        ("safety_identifier", "s"),
        ("verbosity", "low"),
        ("service_tier", "auto"),
        ("metadata", {"a": "b"}),
        ("seed", 7),
        ("modalities", ["text"]),
        ("n", 1),
        ("logprobs", False),
        ("presence_penalty", 0),
    ],
)
def test_what_changes_no_answer_is_left_out_and_named(name: str, value: Any) -> None:
    assert ({"temperature": 0.5}, (name,)) == fit(HAIKU, temperature=0.5, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"1": 5}),
        ("functions", [{"name": "f"}]),
        ("presence_penalty", 0.5),
        ("modalities", ["text", "audio"]),
    ],
)
def test_what_changes_an_answer_asks_for_another_model_in_our_words(name: str, value: Any) -> None:
    with pytest.raises(Failed) as caught:
        fit(HAIKU, **{name: value})

    assert (ErrorClass.UNSUPPORTED, name) == (caught.value.error, caught.value.param)
    assert (
        f"{name}: claude-haiku-5-5 does not take it; leave it out or choose another model"
        == caught.value.message
    )


def test_parallel_calls_are_the_usual_and_their_absence_is_not() -> None:
    assert ({}, ("parallel_tool_calls",)) == fit(CEREBRAS, parallel_tool_calls=True)
    with pytest.raises(Failed, match="parallel_tool_calls"):
        fit(CEREBRAS, parallel_tool_calls=False)


def test_a_model_is_sent_what_it_takes() -> None:
    body: dict[str, Any] = {
        "n": 2,
        "seed": 7,
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "verbosity": "low",
    }

    assert (body, ()) == fit(LUNA, **body)


def test_drop_params_leaves_out_whatever_a_model_does_not_take() -> None:
    assert ({"temperature": 0.5}, ("n", "logit_bias")) == fit(
        HAIKU, {"drop_params": True}, n=2, logit_bias={"1": 5}, temperature=0.5
    )


def test_additional_drop_params_are_left_out_even_where_they_are_known() -> None:
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f", "strict": True}}]
    settings = {"additional_drop_params": ["temperature", "tools[*].function.strict"]}

    body, dropped = fit(LUNA, settings, temperature=0.5, tools=tools)

    assert {"tools": [{"type": "function", "function": {"name": "f"}}]} == body
    assert ("temperature", "tools[*].function.strict") == dropped
    assert tools[0]["function"]["strict"]


@pytest.mark.parametrize("path", ["absent", "a.absent", "a[*].b", "a.b.c", "", "[*]", "a[0]"])
def test_a_path_that_leads_nowhere_leaves_all_as_it_is(path: str) -> None:
    assert {"a": {"b": 1}} == without({"a": {"b": 1}}, path)


def test_what_is_named_has_a_bound() -> None:
    named = parameters.shown([f"{i}" * 100 for i in range(100)])

    assert 32 == len(named)
    assert 64 == max(map(len, named))
