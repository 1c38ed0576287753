"""The operator's system prompts: which, in which order, counted how, and where they stand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.config import Mistakes
from services.chassis.operations import Operation
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys.permissions import Caller, without_row
from services.gateway.pipeline import added_prompts
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.pipeline.decision import Decision
from services.gateway.prompts import system_prompts as configuration
from services.gateway.prompts.reference import Reference
from services.gateway.prompts.system_prompts import Configured, Rule, Stored, SystemPrompts
from services.gateway.requests import chat_request, embeddings_request, prompt_size, system_text
from services.gateway.requests.model_request import ModelRequest

PROMPTS = SystemPrompts(
    base="Be kind.",
    plans={"free": "Be brief."},
    categories={"code": "Show files.", "math": "Show each step, please."},
    languages={"de": "Sag Sie."},
    models={"big": "No tables."},
)
RULES = SystemPromptRules(PROMPTS)
ALL = ["base", "plan:free", "category:code", "language:de", "model:big"]


@pytest.fixture
def caller(configured: Plans) -> Caller:
    return without_row("ann", configured.by_name["free"], is_admin=False)


def chat(*messages: tuple[str, Any], **more: Any) -> ModelRequest:
    said = [{"role": role, "content": content} for role, content in messages or (("user", "Hi"),)]
    return chat_request.parse(orjson.dumps({"messages": said, **more}))


def decision(category: str = "code", language: str = "de-AT", model: str = "big") -> Decision:
    return Decision(
        began=0,
        context=chat_pb2.RequestContext(),
        classification=classifier_pb2.Classification(
            category=classifier_pb2.Category.Value(f"CATEGORY_{category.upper()}"), language=language
        ),
        selection=selector_pb2.Selection(candidates=[selector_pb2.Candidate(model=model)]),
        degraded=[],
    )


def added(caller: Caller, request: ModelRequest, decided: Decision) -> dict[str, Any]:
    return added_prompts.added(RULES.chosen(caller, request, decided), request, request.body)


def test_the_order_is_base_plan_category_language_model(caller: Caller) -> None:
    rules = RULES.chosen(caller, chat(), decision())

    assert ALL == [rule.name for rule in rules]
    body = added_prompts.added(rules, chat(), chat().body)
    text = "Be kind.\n\nBe brief.\n\nShow files.\n\nSag Sie.\n\nNo tables."
    assert [{"role": "system", "content": text}, {"role": "user", "content": "Hi"}] == body["messages"]


def test_what_does_not_apply_is_not_added(caller: Caller, configured: Plans) -> None:
    other = replace(caller, plan=configured.by_name["pro"])

    rules = RULES.chosen(other, chat(), decision("chat", "fr", "small"))

    assert ["base"] == [rule.name for rule in rules]


@pytest.mark.parametrize(
    ("category", "language", "model"), [("code", "de", "big"), ("math", "de", "big"), ("chat", "", "small")]
)
def test_what_is_counted_before_the_decision_covers_what_is_added_after_it(
    caller: Caller, category: str, language: str, model: str
) -> None:
    for request in (chat(), chat(("system", "Mine."), ("user", "Hi"))):
        counted = RULES.counted(caller, request)

        body = added(caller, request, decision(category, language, model))
        bound, _ = prompt_size.measure(body["messages"])
        assert counted.prompt_tokens >= bound
        assert counted.likely_prompt_tokens > request.likely_prompt_tokens


def test_a_system_message_of_the_callers_comes_after_in_the_same_message(caller: Caller) -> None:
    rules_only = decision("chat", "", "")

    for content, expected in (
        ("Mine.", "Be kind.\n\nBe brief.\n\nMine."),
        (
            [{"type": "text", "text": "Mine."}],
            [{"type": "text", "text": "Be kind.\n\nBe brief."}, {"type": "text", "text": "Mine."}],
        ),
    ):
        body = added(caller, chat(("developer", content), ("user", "Hi")), rules_only)
        assert {"role": "developer", "content": expected} == body["messages"][0]
        assert 2 == len(body["messages"])


def test_no_text_is_added_twice(caller: Caller) -> None:
    once = added(caller, chat(), decision())
    again = chat_request.parse(orjson.dumps(once))

    assert () == RULES.chosen(caller, again, decision())
    own = chat(("system", "Be kind. And quick."), ("user", "Hi"))
    assert ALL[1:] == [rule.name for rule in RULES.chosen(caller, own, decision())]


def test_a_request_and_a_key_do_without(caller: Caller) -> None:
    asked = chat(lumni={"system_prompts": False})
    key = replace(caller, metadata={"system_prompts": False})

    for who, request in ((caller, asked), (key, chat())):
        assert () == RULES.chosen(who, request, decision())
        assert request is RULES.counted(who, request)


def test_what_is_no_conversation_gets_none(caller: Caller) -> None:
    request = embeddings_request.parse(orjson.dumps({"model": "e", "input": "Hi"}))

    assert () == RULES.chosen(caller, request, decision())
    assert request is RULES.counted(caller, request)


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        (Operation.MESSAGES, {"messages": []}, {"messages": [], "system": "A"}),
        (Operation.MESSAGES, {"system": "B"}, {"system": "A\n\nB"}),
        (
            Operation.MESSAGES,
            {"system": [{"type": "text", "text": "B"}]},
            {"system": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        ),
        (Operation.RESPONSES, {"input": "x"}, {"input": "x", "instructions": "A"}),
        (Operation.RESPONSES, {"instructions": "B"}, {"instructions": "A\n\nB"}),
    ],
)
def test_each_format_has_its_place(
    operation: Operation, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert expected == system_text.preceded(operation, body, "A")
    assert "A" in "".join(system_text.texts(operation, expected))


def test_the_section_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "lumni.yaml"
    file.write_text(
        "system_prompts:\n  base: Be kind.\n  plans: {free: Be brief.}\n  categories: {code: Files.}\n"
    )

    found = configuration.load(file, ["free"])

    assert Configured(SystemPrompts("Be kind.", {"free": "Be brief."}, {"code": "Files."}, {}, {})) == found
    file.write_text("system_prompts:\n  plans: {gold: x}\n  categories: {poems: x}\n  bases: x\n")
    with pytest.raises(Mistakes) as caught:
        configuration.load(file, ["free"])
    assert all(name in str(caught.value) for name in ("gold", "poems", "bases"))
    file.write_text("switches: {}\n")
    assert Configured() == configuration.load(file, [])


def test_a_rule_may_name_a_stored_prompt(tmp_path: Path) -> None:
    file = tmp_path / "lumni.yaml"
    file.write_text(
        "system_prompts:\n  base: {prompt: house-style@staging, variables: {tone: warm}}\n"
        "  languages: {de: {prompt: sie}, fr: Vous.}\n"
    )

    found = configuration.load(file, ["free"])

    assert SystemPrompts(languages={"fr": "Vous."}) == found.written
    house, sie = Reference("house-style", "staging"), Reference("sie")
    assert {"base": Stored(house, {"tone": "warm"}), "language:de": Stored(sie)} == found.stored
    assert ["language:fr", "base=house-style@staging", "language:de=sie@production"] == found.names
    file.write_text(
        "system_prompts:\n  base: {variables: 3}\n  plans:\n    free: {prompt: a b}\n"
        "  models: {x: {prompt: a, colour: red}}\n"
    )
    with pytest.raises(Mistakes) as caught:
        configuration.load(file, ["free"])
    for mistake in (
        "lumni.yaml:2: system_prompts.base.prompt: is missing",
        "lumni.yaml:2: system_prompts.base.variables: expected a mapping of names to values",
        "lumni.yaml:4: system_prompts.plans.free.prompt: expected the name or id of a prompt",
        "lumni.yaml:5: system_prompts.models.x.colour: is not known",
    ):
        assert mistake in str(caught.value)


def test_a_request_keeps_the_texts_that_it_was_counted_with(caller: Caller) -> None:
    texts = Live(PROMPTS)
    live = texts.derived(SystemPromptRules)
    before = live.current
    assert before is live.current

    texts.replace(PROMPTS.with_rule(Rule("base", "Be kind, and say so.", "house@4")))
    after = live.current

    assert ALL == [rule.shown for rule in before.chosen(caller, chat(), decision())]
    shown = [rule.shown for rule in after.chosen(caller, chat(), decision())]
    assert ["base=house@4", *ALL[1:]] == shown
    assert after.counted(caller, chat()).prompt_tokens > before.counted(caller, chat()).prompt_tokens
    # An answer of before is not found in the cache any more; who gets no texts finds his.
    assert before.fingerprint(caller, chat()) != after.fingerprint(caller, chat())
    without = chat(lumni={"system_prompts": False})
    assert b"" == before.fingerprint(caller, without) == after.fingerprint(caller, without)
