"""What requests wish of the response cache."""

from typing import Any

import pytest

from services.chassis.errors import Invalid
from services.gateway.requests import cache_control, chat_request, embeddings_request
from services.gateway.requests.cache_control import CacheControl


@pytest.mark.parametrize(
    ("given", "wishes"),
    [
        (None, CacheControl()),
        ({}, CacheControl()),
        ({"no-cache": True}, CacheControl(no_cache=True)),
        ({"no-store": True}, CacheControl(no_store=True)),
        ({"use-cache": True}, CacheControl(opted_in=True)),
        ({"semantic": True}, CacheControl(opted_in=True, semantic=True)),
        ({"semantic": False}, CacheControl(semantic=False)),
        ({"use-cache": False}, CacheControl(no_cache=True, no_store=True)),
        ({"ttl": 60, "s-maxage": 0}, CacheControl(opted_in=True, ttl_s=60, max_age_s=0)),
    ],
)
def test_the_object_is_read_as_litellm_spells_it(given: Any, wishes: CacheControl) -> None:
    assert wishes == cache_control.parse(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no-cache", "cache: expected an object"),
        ({"no_cache": True}, "cache.no_cache: unknown; expected one of no-cache, no-store"),
        ({"no-cache": "yes"}, "cache.no-cache: expected true or false"),
        ({"ttl": 0}, "cache.ttl: expected whole seconds from 1"),
        ({"ttl": True}, "cache.ttl: expected whole seconds"),
        ({"ttl": 10**9}, "cache.ttl: expected whole seconds from 1 to 2592000"),
    ],
)
def test_a_mistake_names_its_field(given: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        cache_control.parse(given)


@pytest.mark.parametrize(
    ("header", "refresh", "wishes"),
    [
        ("no-cache", "", CacheControl(no_cache=True)),
        ("No-Store , max-age=30", "", CacheControl(no_store=True, max_age_s=30)),
        ("only-if-cached, no-transform", "", CacheControl()),
        ("", "True", CacheControl(no_cache=True)),
        ("", "false", CacheControl()),
    ],
)
def test_headers_wish_too(header: str, refresh: str, wishes: CacheControl) -> None:
    assert wishes == cache_control.with_headers(CacheControl(), header, refresh)


def test_a_max_age_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="cache-control: expected max-age=SECONDS"):
        cache_control.with_headers(CacheControl(), "max-age=soon", "")


@pytest.mark.parametrize(
    ("more", "deterministic"),
    [("", False), (', "temperature": 0', True), (', "temperature": 0.1', False), (', "seed": 0', True)],
)
def test_a_chat_is_deterministic_by_its_temperature_or_its_seed(more: str, deterministic: bool) -> None:
    text = '{"cache": {"ttl": 5}, "messages": [{"role": "user", "content": "hi"}]' + more + "}"
    request = chat_request.parse(text)

    assert deterministic == request.deterministic
    assert 5 == request.cache.ttl_s
    assert "cache" not in request.body


def test_vectors_are_always_deterministic() -> None:
    assert embeddings_request.parse(b'{"model": "vectors", "input": "hi"}').deterministic
