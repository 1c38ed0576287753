"""What a budget's length and a key's models become."""

from pathlib import Path

import pytest

from services.chassis import litellm_config
from services.gateway.imports.model_names import ModelNames, within
from services.gateway.imports.periods import period

FLEET = """
model_list:
  - {model_name: small, litellm_params: {model: openai/gpt-4o-mini}, model_info: {access_groups: [cheap]}}
  - {model_name: openai/large, litellm_params: {model: openai/gpt-4o}, model_info: {access_groups: [dear]}}
"""


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (None, ("total", True)),
        ("1d", ("day", True)),
        ("24h", ("day", True)),
        ("7d", ("week", True)),
        ("1w", ("week", True)),
        ("30d", ("month", True)),
        ("1mo", ("month", True)),
        ("monthly", ("month", True)),
        # The next longer one: the same amount for more time allows less.
        ("30s", ("day", False)),
        ("12h", ("day", False)),
        ("2d", ("week", False)),
        ("14d", ("month", False)),
        ("90d", ("total", False)),
        ("2mo", ("total", False)),
    ],
)
def test_a_budget_never_allows_more_than_where_it_comes_from(
    duration: str | None, expected: tuple[str, bool]
) -> None:
    assert expected == period("budget_duration", duration)


@pytest.mark.parametrize("duration", ["soon", "0d", "-1d", "d", "1y", "1 d", "99999999d"])
def test_what_is_no_length_of_time_is_refused_by_its_name(duration: str) -> None:
    with pytest.raises(ValueError, match=r"^budget_duration: .* is no length of time"):
        period("budget_duration", duration)


def test_groups_and_wildcards_are_the_models_that_they_name(tmp_path: Path) -> None:
    file = tmp_path / "litellm_config.yaml"
    file.write_text(FLEET)
    names = ModelNames(litellm_config.load(file))

    assert None is names.scope([]) is names.scope(["small", "all-proxy-models"])
    assert frozenset({"small"}) == names.scope(["small"]) == names.scope(["cheap"])
    assert frozenset({"openai/large"}) == names.scope(["openai/*"])
    assert frozenset({"small", "openai/large"}) == names.scope(["cheap", "dear"])
    # What is gone reaches nothing, and does not become everything.
    assert frozenset({"gone"}) == names.scope(["gone"])
    assert frozenset() == names.scope(["nobody/*"])
    assert ["gone"] == names.unknown(["gone", "small"])


def test_a_key_may_what_its_team_may_too() -> None:
    one, other = frozenset({"a", "b"}), frozenset({"b", "c"})

    assert frozenset({"b"}) == within(one, other)
    assert one == within(one, None) == within(None, one)
    assert None is within(None, None)
    assert frozenset() == within(one, frozenset())
