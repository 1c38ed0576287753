"""The whole service, over a real socket."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from lumni.classifier.v1 import classifier_pb2_grpc as pb_grpc

from services.chassis import config, rpc
from services.classifier import classify, features, heads
from services.classifier.__main__ import SERVICE
from services.classifier.__main__ import serving as serving_by
from services.classifier.classify import Classification, Classifier, Seen, Versions
from services.classifier.embedding import Embedder
from services.classifier.features import NAMES, Observation
from services.classifier.heads import Heads
from services.classifier.reading import Reading
from services.classifier.servicer import (
    CATEGORIES,
    SCORE,
    ClassifierServicer,
)
from services.classifier.settings import Settings
from services.classifier.shadow import FAILURES, SHADOWED, Shadow
from services.classifier.stack import Opinion, Stack


@pytest.fixture
async def stub(weights: Heads, embedder: Embedder) -> AsyncIterator[Any]:
    versions = Versions(
        [(Classifier(weights, embedder), 0.5), (Classifier(replace(weights, version="b"), embedder), 0.5)]
    )
    shadow = Shadow(Classifier(replace(weights, version="shadow"), embedder))
    async with serving(ClassifierServicer(versions, shadow)) as found:
        yield found


@asynccontextmanager
async def serving(servicer: ClassifierServicer) -> AsyncIterator[Any]:
    service = rpc.Service(SERVICE, pb_grpc.add_ClassifierServiceServicer_to_server, servicer)
    async with (
        rpc.serve("127.0.0.1:0", rpc.Settings(), [service]) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield pb_grpc.ClassifierServiceStub(channel)


def asking(text: str, request_id: str = "r", **more: Any) -> pb.ClassifyRequest:
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, text=text)
    return pb.ClassifyRequest(
        context=chat_pb2.RequestContext(request_id=request_id), messages=[message], **more
    )


async def test_a_request_is_classified(stub: Any) -> None:
    response = await stub.Classify(
        asking("Implement a lock-free queue in Rust and prove that it is linearizable"), timeout=5
    )
    found = response.classification

    assert found.category == pb.CATEGORY_CODE
    assert found.tier == pb.TIER_POWERFUL
    assert found.language == "en"
    assert found.prompt_tokens > 10
    assert found.factors[0].contribution > 0
    assert found.version in ("v1", "b")
    assert not found.features


async def test_no_messages_are_an_invalid_argument(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Classify(pb.ClassifyRequest(), timeout=60)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "messages" in (caught.value.details() or "")


async def test_a_batch_answers_in_order_each_with_its_own_success_or_failure(stub: Any) -> None:
    batch = pb.BatchClassifyRequest(
        requests=[asking("hi"), pb.ClassifyRequest(), asking("Solve 2x + 3 = 9 for x")]
    )
    results = (await stub.BatchClassify(batch, timeout=60)).results

    assert [result.WhichOneof("outcome") for result in results] == [
        "classification",
        "error",
        "classification",
    ]
    assert results[0].classification.category == pb.CATEGORY_CHAT
    assert results[1].error.param == "messages"
    assert results[2].classification.category == pb.CATEGORY_MATH


async def test_a_request_that_cannot_be_judged_fails_alone(
    weights: Heads, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = features.observe

    def fails_at_zebras(reading: Reading, embedder: Embedder) -> Observation:
        if "zebra" in reading.question:
            raise ValueError("zebras")
        return observe(reading, embedder)

    monkeypatch.setattr(classify, "observe", fails_at_zebras)
    batch = pb.BatchClassifyRequest(requests=[asking("hi"), asking("a zebra"), asking("hello")])

    async with serving(ClassifierServicer(Versions([(Classifier(weights, embedder), 1.0)]))) as stub:
        results = (await stub.BatchClassify(batch, timeout=60)).results

    assert ["classification", "error", "classification"] == [one.WhichOneof("outcome") for one in results]
    assert grpc.StatusCode.INTERNAL.value[0] == results[1].error.code


async def test_too_large_a_batch_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.BatchClassify(pb.BatchClassifyRequest(requests=[asking("hi")] * 257), timeout=60)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_features_come_only_when_asked_for(stub: Any) -> None:
    response = await stub.Classify(asking("hi", include_features=True), timeout=60)

    assert len(response.classification.features) == len(NAMES)


async def test_features_are_counts_in_which_words_leave_no_trace(stub: Any) -> None:
    secret = await stub.Classify(asking("my password is zebra", include_features=True), timeout=60)
    other = await stub.Classify(asking("my password is tiger", include_features=True), timeout=60)

    assert list(secret.classification.features) == list(other.classification.features)
    assert secret.classification.strong_win_rate != other.classification.strong_win_rate


async def test_the_callers_category_is_reported_and_changes_no_score(stub: Any) -> None:
    plain = (await stub.Classify(asking("the sea"), timeout=60)).classification
    hinted = (
        await stub.Classify(asking("the sea", hints=pb.Hints(category=pb.CATEGORY_WRITING)), timeout=60)
    ).classification

    assert hinted.category == pb.CATEGORY_WRITING
    assert hinted.strong_win_rate == plain.strong_win_rate


async def test_versions_are_chosen_by_the_requests_id(stub: Any) -> None:
    batch = pb.BatchClassifyRequest(requests=[asking("hi", f"request-{number}") for number in range(100)])
    versions = [
        result.classification.version for result in (await stub.BatchClassify(batch, timeout=60)).results
    ]

    assert set(versions) == {"v1", "b"}
    assert versions == [
        result.classification.version for result in (await stub.BatchClassify(batch, timeout=60)).results
    ]


def shadowed(request: pb.ClassifyRequest, served: "pb.Tier.ValueType") -> pb.ShadowRequest:
    return pb.ShadowRequest(classify=request, served_tier=served)


async def test_a_shadow_judges_when_it_is_asked_is_measured_and_never_served(stub: Any) -> None:
    def measured() -> float:
        return sum(
            sample.value
            for metric in SCORE.collect()
            for sample in metric.samples
            if sample.name.endswith("_count") and sample.labels == {"version": "shadow", "served": "no"}
        )

    before = measured()
    asked = asking("a question that is new to the shadow")
    served = (await stub.Classify(asked, timeout=60)).classification
    unasked = measured()
    judged = (await stub.Shadow(shadowed(asked, served.tier), timeout=60)).classification

    assert ("shadow", "shadow") == (served.shadow, judged.version)
    assert served.version in ("v1", "b")
    # The same weights under another name.
    assert (served.strong_win_rate, served.tier, served.category) == (
        judged.strong_win_rate,
        judged.tier,
        judged.category,
    )
    assert (before, before + 1) == (unasked, measured())


async def test_a_shadow_is_due_at_its_share_of_each_versions_requests_and_at_none_of_its_own(
    weights: Heads, embedder: Embedder
) -> None:
    first, second = Classifier(weights, embedder), Classifier(replace(weights, version="b"), embedder)
    servicer = ClassifierServicer(Versions([(first, 0.5), (second, 0.5)]), Shadow(second, 0.4))
    batch = pb.BatchClassifyRequest(requests=[asking("hi", f"request-{number}") for number in range(256)])
    async with serving(servicer) as stub:
        found, again = [
            [
                (one.classification.version, one.classification.shadow)
                for one in (await stub.BatchClassify(batch, timeout=60)).results
            ]
            for _ in range(2)
        ]

    assert found == again
    by_first = [shadow for version, shadow in found if version == "v1"]
    assert {""} == {shadow for version, shadow in found if version == "b"}
    assert {"", "b"} == set(by_first)
    assert 0.25 < by_first.count("b") / len(by_first) < 0.55


def beside(weights: Heads, embedder: Embedder, shadow: Classifier) -> ClassifierServicer:
    return ClassifierServicer(Versions([(Classifier(weights, embedder), 1.0)]), Shadow(shadow))


@pytest.mark.parametrize(("bias", "agrees"), [(-800.0, "no"), (800.0, "yes")])
async def test_a_shadow_beyond_all_scores_is_compared_with_the_tier_that_was_served(
    weights: Heads, embedder: Embedder, bias: float, agrees: str
) -> None:
    shadow = Classifier(
        replace(weights, version=f"bias{bias:.0f}", biases=np.full_like(weights.biases, bias)), embedder
    )
    before = SHADOWED.labels(shadow.weights.version, agrees)._value.get()
    async with serving(beside(weights, embedder, shadow)) as stub:
        hard = asking("Prove that the product of three consecutive integers is divisible by 6")
        served = (await stub.Classify(hard, timeout=60)).classification
        await stub.Shadow(shadowed(hard, served.tier), timeout=60)

    assert pb.TIER_POWERFUL == served.tier
    assert SHADOWED.labels(shadow.weights.version, agrees)._value.get() == before + 1


class Failing(Classifier):
    """A version that cannot judge."""

    def judge(self, seen: Seen) -> list[Classification]:
        raise OverflowError("math range error")


async def test_a_shadow_that_fails_is_counted_and_logged_once(
    weights: Heads, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    shadow = Failing(replace(weights, version="failing"), embedder)
    with caplog.at_level(logging.ERROR):
        async with serving(beside(weights, embedder, shadow)) as stub:
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Shadow(shadowed(asking("hi"), pb.TIER_FAST), timeout=60)

    assert grpc.StatusCode.INTERNAL is caught.value.code()
    assert FAILURES.labels("failing")._value.get() == 3
    assert len([line for line in caplog.messages if line == "the shadow failing fails to judge"]) == 1


async def test_a_shadow_without_its_encoder_judges_nothing(weights: Heads, embedder: Embedder) -> None:
    class Broken:
        """An encoder that fails."""

        def read(self, text: str) -> Opinion | None:
            raise OSError("no encoder")

    shadow = Classifier(replace(weights, version="broken"), embedder, deep=(Broken(), Stack.load()))
    async with serving(beside(weights, embedder, shadow)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Shadow(shadowed(asking("hi"), pb.TIER_FAST), timeout=60)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED is caught.value.code()


async def test_callers_have_their_turn_at_the_encoder_before_all_but_two_texts_of_the_shadow(
    weights: Heads, embedder: Embedder
) -> None:
    may_read = threading.Event()
    texts: list[str] = []

    class Held:
        """An encoder that reads when it may."""

        def read(self, text: str) -> Opinion | None:
            assert may_read.wait(60)
            texts.append(text)
            return None

    deep = Classifier(weights, embedder, deep=(Held(), Stack.load()))
    async with serving(ClassifierServicer(Versions([(deep, 1.0)]), Shadow(deep))) as stub:

        async def judged(number: int) -> grpc.StatusCode:
            try:
                await stub.Shadow(shadowed(asking(f"shadow {number}"), pb.TIER_FAST), timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        calls = [asyncio.create_task(judged(number)) for number in range(12)]
        refused = [await one for _, one in zip(range(10), asyncio.as_completed(calls), strict=False)]
        caller = stub.Classify(asking("caller"), timeout=60)
        may_read.set()
        served = (await caller).classification
        outcomes = await asyncio.gather(*calls)

    assert {grpc.StatusCode.RESOURCE_EXHAUSTED} == set(refused)
    assert 2 == outcomes.count(grpc.StatusCode.OK)
    assert ("deep", 3, "caller") == (served.version, len(texts), texts[-1])


async def test_a_shadow_is_told_which_tier_was_served(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="served_tier") as caught:
        await stub.Shadow(shadowed(asking("hi"), pb.TIER_UNSPECIFIED), timeout=60)

    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()


async def test_a_version_that_is_served_and_the_shadow_is_loaded_once_and_warned_of_where_it_serves_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded: list[Path] = []

    def load(path: Path) -> Heads:
        loaded.append(path)
        return load_heads(path)

    load_heads = heads.load
    monkeypatch.setattr(heads, "load", load)
    environ = {"LUMNI_LISTEN": "127.0.0.1:0", "LUMNI_CLASSIFIER_SHADOW": "v1"}
    with caplog.at_level(logging.WARNING):
        async with serving_by(config.from_environ(Settings, environ)):
            pass

    assert ["v1.npz"] == [path.name for path in loaded]
    assert [
        "LUMNI_CLASSIFIER_SHADOW: v1 is the only version that is served, so there is nothing to compare"
    ] == caplog.messages


async def test_a_classifier_without_a_shadow_says_so(weights: Heads, embedder: Embedder) -> None:
    async with serving(ClassifierServicer(Versions([(Classifier(weights, embedder), 1.0)]))) as stub:
        served = (await stub.Classify(asking("hi"), timeout=60)).classification
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Shadow(shadowed(asking("hi"), served.tier), timeout=60)

    assert "" == served.shadow
    assert grpc.StatusCode.NOT_FOUND is caught.value.code()


async def test_a_message_of_five_megabytes_is_classified(stub: Any) -> None:
    response = await stub.Classify(asking("tell me more about this " * 210_000), timeout=60)

    assert response.classification.truncated
    assert response.classification.long_context


def test_every_category_has_a_name_on_the_wire() -> None:
    assert set(CATEGORIES.values()) == set(pb.Category.values()) - {pb.CATEGORY_UNSPECIFIED}


async def test_texts_that_are_alike_are_embedded_alike(stub: Any) -> None:
    async def vector(text: str) -> list[float]:
        return list((await stub.Embed(pb.EmbedRequest(text=text), timeout=60)).vector)

    one, alike, other = [
        await vector(text)
        for text in ("What is the capital of Peru?", "what's the capital of peru", "Bake me a cake")
    ]
    assert 256 == len(one)

    def cosine(first: list[float], second: list[float]) -> float:
        return float(np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second))

    assert cosine(one, alike) > 0.8 > 0.4 > cosine(one, other)
    assert 256 == len(await vector("capital " * 100_000))


async def test_no_text_is_not_embedded(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="text: expected some"):
        await stub.Embed(pb.EmbedRequest(text=" \n"), timeout=60)
