"""Random bytes for every parser, the same every time, and what was found before; `make fuzz` searches by coverage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import cases
from tests.fuzz.bodies import JSON
from tests.fuzz.parsers import SEEDS, TARGETS


def near(seed: bytes) -> st.SearchStrategy[bytes]:
    """Something that begins as a seed and goes on at random."""
    return st.builds(
        lambda cut, more, rest: seed[:cut] + more + seed[cut + rest :],
        st.integers(0, len(seed)),
        st.binary(max_size=8),
        st.integers(0, 8),
    )


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_parser(name: str) -> None:
    @given(st.one_of(st.binary(max_size=200), *(near(seed) for seed in SEEDS[name])))
    def search(data: bytes) -> None:
        TARGETS[name](data)

    search()


@pytest.mark.parametrize("name", ["error", "usage", "openai", "json_bounds", "chat"])
def test_no_json_breaks_a_parser(name: str) -> None:
    words = st.sampled_from(
        """
        error message code type status details retryDelay param choices index delta message content finish_reason usage
        tool_calls function name arguments reasoning_content prompt_tokens completion_tokens prompt_tokens_details
        cached_tokens cache_creation_token_details input_tokens output_tokens server_tool_use web_search_requests
        messages role tools
        """.split()
    )
    values = st.recursive(
        JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5)
    )

    @given(st.dictionaries(words, values, max_size=5))
    def search(value: object) -> None:
        TARGETS[name](json.dumps(value).encode())

    search()


@pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name in TARGETS for _, data in cases.of_parser(name)]
)
def test_what_was_found_once_holds(name: str, data: bytes) -> None:
    TARGETS[name](data)
