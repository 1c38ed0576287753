"""What is decided when the classifier or the selector is up and fails."""

import logging
from pathlib import Path

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from lumni.selector.v1 import selector_pb2, selector_pb2_grpc

from services.chassis import errors, litellm_config, rpc, status
from services.gateway.config.live import Live
from services.gateway.config.switches import Switches
from services.gateway.peers import clients
from services.gateway.peers.fallback_selection import FallbackSelection
from services.gateway.pipeline.decision import Decider, Decision
from services.gateway.requests import chat_request
from tests.gateway.money import caller

SETTINGS = rpc.Settings(timeout_s=5)
CHAT = chat_request.parse(b'{"messages": [{"role": "user", "content": "What is 17 times 23?"}]}')
FLEET = """
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_base: "http://127.0.0.1:1/v1"}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0, max_input_tokens: 8192}
"""


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """A classifier that fails as configured; the whole call, or each request in it."""

    def __init__(self, call: Exception | None = None, each: errors.Fault | None = None) -> None:
        self._call, self._each = call, each

    async def Embed(
        self, request: classifier_pb2.EmbedRequest, context: object
    ) -> classifier_pb2.EmbedResponse:
        raise NotImplementedError

    async def Shadow(
        self, request: classifier_pb2.ShadowRequest, context: object
    ) -> classifier_pb2.ShadowResponse:
        raise NotImplementedError

    async def BatchClassify(
        self, request: classifier_pb2.BatchClassifyRequest, context: object
    ) -> classifier_pb2.BatchClassifyResponse:
        if self._call:
            raise self._call
        result = classifier_pb2.ClassifyResult(
            classification=classifier_pb2.Classification(version="v1", prompt_tokens=1)
        )
        if self._each:
            result = classifier_pb2.ClassifyResult(error=status.to_failure(self._each))
        return classifier_pb2.BatchClassifyResponse(results=[result] * len(request.requests))

    async def Classify(
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        raise NotImplementedError("the gateway asks in batches")


class SelectorServicer(selector_pb2_grpc.SelectorServiceServicer):
    """A selector that fails as configured, or selects the one deployment."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self.requests: list[selector_pb2.SelectRequest] = []

    async def BatchSelect(
        self, request: selector_pb2.BatchSelectRequest, context: object
    ) -> selector_pb2.BatchSelectResponse:
        if self._failure:
            raise self._failure
        self.requests += request.requests
        selection = selector_pb2.Selection(
            strategy="balanced",
            candidates=[
                selector_pb2.Candidate(deployment="small@openai", only_on=chat_pb2.ONLY_ON_ANY),
            ],
        )
        results = [selector_pb2.SelectResult(selection=selection) for _ in request.requests]
        return selector_pb2.BatchSelectResponse(results=results)

    async def Select(
        self, request: selector_pb2.SelectRequest, context: object
    ) -> selector_pb2.SelectResponse:
        raise NotImplementedError("the gateway asks in batches")

    async def ListModels(
        self, request: selector_pb2.ListModelsRequest, context: object
    ) -> selector_pb2.ListModelsResponse:
        raise NotImplementedError("a decision lists no models")

    async def GetModel(
        self, request: selector_pb2.GetModelRequest, context: object
    ) -> selector_pb2.GetModelResponse:
        raise NotImplementedError("a decision lists no models")

    async def Replay(
        self, request: selector_pb2.ReplayRequest, context: object
    ) -> selector_pb2.ReplayResponse:
        raise NotImplementedError("a decision replays nothing")


async def decide(folder: Path, classifier: ClassifierServicer, selector: SelectorServicer) -> Decision:
    """Decide about `CHAT` with these two services."""
    (folder / "litellm_config.yaml").write_text(FLEET)
    services = [
        rpc.Service(
            clients.CLASSIFIER, classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, classifier
        ),
        rpc.Service(clients.SELECTOR, selector_pb2_grpc.add_SelectorServiceServicer_to_server, selector),
    ]
    async with (
        rpc.serve("127.0.0.1:0", SETTINGS, services) as address,
        rpc.connect(address, SETTINGS, clients.CLASSIFIER, repeatable=True) as channel,
    ):
        decider = Decider(
            classifier=clients.Classifier(channel, SETTINGS, 5),
            selector=clients.Selector(channel, SETTINGS, 5),
            fallback=FallbackSelection(litellm_config.load(folder / "litellm_config.yaml")),
            switches=Live(Switches()),
            version=Live("v1"),
        )
        return await decider.decide(caller(), CHAT, chat_pb2.RequestContext(request_id="r1"))


BROKEN = [
    ValueError("a mistake of ours"),
    errors.Unauthenticated("the service token is wrong"),
    errors.Unavailable("not now"),
]


@pytest.mark.parametrize("failure", BROKEN)
async def test_a_classifier_that_fails_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    selector = SelectorServicer()
    decision = await decide(tmp_path, ClassifierServicer(call=failure), selector)

    assert ["classifier"] == decision.degraded
    assert "v1" == decision.configuration
    # Nothing judged it, and the selector can see that.
    assert ("", 0.5) == (decision.classification.version, decision.classification.strong_win_rate)
    assert [""] == [one.classification.version for one in selector.requests]
    logged = [one for one in caplog.records if one.name == "services.gateway.pipeline.decision"]
    assert bool(logged) == (not isinstance(failure, errors.Unavailable))
    assert all("the classifier failed" in one.getMessage() for one in logged)


async def test_what_the_classifier_finds_wrong_with_a_request_is_the_callers_to_read(tmp_path: Path) -> None:
    classifier = ClassifierServicer(each=errors.Invalid("messages: at least one is needed", param="messages"))
    with pytest.raises(errors.Invalid, match="messages: at least one"):
        await decide(tmp_path, classifier, SelectorServicer())


@pytest.mark.parametrize("failure", BROKEN)
async def test_a_selector_that_fails_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    decision = await decide(tmp_path, ClassifierServicer(), SelectorServicer(failure))

    assert ["selector"] == decision.degraded
    assert ["small@openai"] == [one.deployment for one in decision.selection.candidates]
    logged = [
        one
        for one in caplog.records
        if one.levelno >= logging.ERROR and one.name.endswith("pipeline.decision")
    ]
    assert bool(logged) == (not isinstance(failure, errors.Unavailable))


@pytest.mark.parametrize(
    "answer",
    [
        errors.Unavailable("all breakers are open", reason="NO_HEALTHY_DEPLOYMENT"),
        errors.Exhausted("no quota is left", reason="QUOTA_EXHAUSTED"),
        errors.NotFound("no such model", reason="MODEL_NOT_FOUND"),
    ],
)
async def test_what_the_selector_answers_is_the_answer(tmp_path: Path, answer: errors.Fault) -> None:
    with pytest.raises(type(answer), match=answer.message):
        await decide(tmp_path, ClassifierServicer(), SelectorServicer(answer))


@pytest.mark.parametrize("classifier", [ClassifierServicer(), ClassifierServicer(call=BROKEN[2])])
async def test_the_prompt_has_the_tokens_that_admission_counts(
    tmp_path: Path, classifier: ClassifierServicer
) -> None:
    selector = SelectorServicer()
    decision = await decide(tmp_path, classifier, selector)

    assert CHAT.likely_prompt_tokens == decision.classification.prompt_tokens > 0
    assert [CHAT.likely_prompt_tokens] == [one.requirements.likely_prompt_tokens for one in selector.requests]
