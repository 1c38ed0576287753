"""What is hidden of texts, and what is not."""

import pytest

from services.gateway.recording import redaction
from services.gateway.recording.redaction import HIDDEN


@pytest.mark.parametrize(
    "secret",
    [
        "sk-lumni-0123456789abcdef",
        "sk-proj-AbCdEf0123456789",
        "ghp_0123456789abcdefghij",
        "xoxb-0123456789-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ",
        "Bearer abcdef0123456789",
        "ada.lovelace+x@mail.example.org",
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_addresses_and_cards_are_hidden_and_the_text_around_them_stays(secret: str) -> None:
    assert f"before {HIDDEN} after" == redaction.text(f"before {secret} after")


@pytest.mark.parametrize(
    "harmless",
    ["17 * 23 = 391", "4111 1111 1111 1112", "1795305600000", "3.14159265358979323", "a@b", "sk-short"],
)
def test_ordinary_texts_and_numbers_stay(harmless: str) -> None:
    assert harmless == redaction.text(harmless)


def test_fields_that_hold_secrets_are_hidden_whatever_they_hold() -> None:
    found = {
        "messages": [{"content": "hi"}],
        "api_key": "plain",
        "headers": {"Authorization": "x"},
        "max_tokens": 5,
    }
    assert {
        "messages": [{"content": "hi"}],
        "api_key": HIDDEN,
        "headers": {"Authorization": HIDDEN},
        "max_tokens": 5,
    } == redaction.value(found)
