"""Configurations as people have them: the selector starts with each, and finds a model for who may use them."""

from pathlib import Path

import pytest

from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Forbidden
from services.selector import configuration
from services.selector.live import snapshot
from services.selector.ranking.select import Preferences, Selection, Selector, Task
from tests.chassis.test_litellm_files import FILES, expected_refusals

STARTING = [file for file in FILES if not expected_refusals(file.read_text())]
NEEDS = Requirements(prompt_tokens=100, output_tokens=100)
STANDARD = Policy(access_groups=("standard",))


def assembled(file: Path, folder: Path) -> Selector:
    (folder / "litellm_config.yaml").write_text(file.read_text())
    return configuration.assemble(folder)


def select(selector: Selector, model: str = "auto", policy: Policy = STANDARD) -> Selection:
    return selector.select(Task(), NEEDS, policy, Preferences(model=model), snapshot.unknown(selector.table))


@pytest.mark.parametrize("file", STARTING, ids=lambda file: file.stem)
def test_auto_finds_a_model_of_the_standard_group(file: Path, tmp_path: Path) -> None:
    assert select(assembled(file, tmp_path)).candidates


def test_a_wildcard_is_called_by_any_name_of_the_price_table(tmp_path: Path) -> None:
    (wildcards,) = (file for file in STARTING if "provider_wildcards" == file.stem)
    selector = assembled(wildcards, tmp_path)

    for name in ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini-2.5-flash"):
        best = select(selector, name).candidates[0]
        assert name == selector.table.deployments[best.index].model


def test_what_has_no_price_ranks_behind_and_is_closed_to_budgets(tmp_path: Path) -> None:
    (routers,) = (file for file in STARTING if "routers" == file.stem)
    selector = assembled(routers, tmp_path)
    priced_only = Policy(access_groups=("standard",), priced_only=True)

    found = [
        selector.table.deployments[one.index].model for one in select(selector, policy=priced_only).candidates
    ]

    assert ["openrouter/priced"] == found
    with pytest.raises(Forbidden, match="nobody knows what it costs"):
        select(selector, "elsewhere", priced_only)
    assert select(selector, "elsewhere").candidates
