"""What is hidden of texts, and what is not."""

import json

import pytest

from services.gateway.recording import redaction
from services.gateway.recording.redaction import HIDDEN, PIECE, SHORTEST_FILE

SECRETS = [
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
]


@pytest.mark.parametrize("secret", SECRETS)
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
        "api_key": ["plain", "other"],
        "headers": {"Authorization": "x", "cookie": {"session": "y"}},
        "password": 1234,
        "client_secret": None,
        "max_tokens": 5,
    }
    assert {
        "messages": [{"content": "hi"}],
        "api_key": HIDDEN,
        "headers": {"Authorization": HIDDEN, "cookie": HIDDEN},
        "password": HIDDEN,
        "client_secret": None,
        "max_tokens": 5,
    } == redaction.value(found)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", ["password", "X-Api-Key", "my_access_token", "Authorization"])
@pytest.mark.parametrize(
    "secret", ["hunter2", "a, long one", 'a " quote', "a \\ backslash", "an end \\", "line\n", "\xe9"]
)
def test_fields_that_hold_secrets_are_hidden_in_texts_that_are_json(
    name: str, secret: str, level: int
) -> None:
    def arguments(held: str) -> str:
        found = json.dumps({"city": "Bonn", name: held, "unit": "C"})
        for _ in range(level):
            found = json.dumps({"arguments": found})
        return found

    assert arguments(HIDDEN) == redaction.text(arguments(secret))


def test_a_text_about_passwords_stays() -> None:
    found = 'A "password": it is "secret", and {"pass": ""} has none. Your key "api_key" is "x".'
    assert found == redaction.text(found)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("filler", ["word ", "1 ", "line\n", "語"])
def test_what_lies_where_a_long_text_is_cut_is_hidden(secret: str, filler: str) -> None:
    before = filler * (PIECE // len(filler))
    for shift in range(0, 64, 3):
        start = before[shift:] + "; "
        assert f"{start}{HIDDEN} after" == redaction.text(f"{start}{secret} after")


@pytest.mark.parametrize(
    "filler", ["word ", "a@b ", "line\n", "語", "A sentence of 9 words, with 1795305600000. "]
)
def test_a_long_text_is_searched_in_pieces(filler: str) -> None:
    assert all(len(piece) < PIECE + 64 for piece in redaction._pieces(filler * PIECE))


def test_files_within_texts_stay() -> None:
    file = "QUJD" * SHORTEST_FILE + "=="
    for found in (file, f"data:image/png;base64,{file}"):
        assert found == redaction.text(found)
    assert f"data:text/plain,{file} {HIDDEN}" == redaction.text(
        f"data:text/plain,{file} sk-test-0123456789ab"
    )
