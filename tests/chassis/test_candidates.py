"""What a pinned name means, and which models may answer for it."""

from services.chassis import candidates
from services.chassis.candidates import Names, OnlyOn
from services.chassis.deployments import Deployment, Fleet
from services.chassis.prices import Price, Row, rates_of

FREE = Price((Row("", 0, rates_of({})),))


def deployment(ident: str, model: str, litellm_model: str) -> Deployment:
    return Deployment(id=ident, model=model, provider="openai", litellm_model=litellm_model, price=FREE)


def test_a_name_is_a_group_an_alias_an_id_or_a_path_and_a_group_comes_first() -> None:
    fleet = Fleet(
        (deployment("one", "gpt", "a"), deployment("gpt", "other", "b"), deployment("three", "gpt", "b")),
        aliases={"quick": "gpt"},
    )
    names = Names(fleet)

    assert [0, 2] == names.find("gpt") == names.find("quick") == names.group("quick")
    assert [0] == names.find("one")
    assert [1, 2] == names.find("openai/b")
    assert [] == names.find("b") == names.group("one")


def test_only_what_is_configured_answers_for_a_model_and_each_for_its_cause() -> None:
    fleet = Fleet(
        (),
        fallbacks={"a": ("b", "c")},
        context_window_fallbacks={"a": ("long",), "*": ("longest",)},
        content_policy_fallbacks={"a": ("frank",)},
        default_fallbacks=("spare",),
    )

    assert [
        ("b", OnlyOn.ANY),
        ("c", OnlyOn.ANY),
        ("long", OnlyOn.CONTEXT),
        ("frank", OnlyOn.POLICY),
    ] == list(candidates.fallbacks(fleet, "a"))
    assert [("spare", OnlyOn.ANY), ("longest", OnlyOn.CONTEXT)] == list(candidates.fallbacks(fleet, "x"))
    assert ("long", OnlyOn.ANY) == next(candidates.fallbacks(fleet, "a", too_long=True))


def test_a_candidate_stands_once_and_any_cause_outweighs_one() -> None:
    listed: dict[str, OnlyOn] = {}
    candidates.append(listed, ["a"], OnlyOn.ANY)
    candidates.append(listed, ["a", "b"], OnlyOn.CONTEXT)
    candidates.append(listed, ["b", "c"], OnlyOn.POLICY)
    candidates.append(listed, ["b", "a"], OnlyOn.ANY)

    assert [("a", OnlyOn.ANY), ("c", OnlyOn.POLICY), ("b", OnlyOn.ANY)] == list(listed.items())
