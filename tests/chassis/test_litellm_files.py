"""Configurations as people have them: each starts, or is refused with a fix that works.

In a file, `# refused: words` marks a line that is refused with these words; the fix is to remove it, with the lines
marked `# gone`, and to take in those that begin with `#+`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.chassis import configured_environment, credentials, litellm_config
from services.chassis.deployments import Deployment, Fleet

FILES = sorted((Path(__file__).parent / "litellm_files").glob("*.yaml"))
REFUSED = re.compile(r"# refused: (.*)$")


def load(name: str) -> Fleet:
    return litellm_config.load(Path(__file__).parent / "litellm_files" / f"{name}.yaml")


def by_model(fleet: Fleet) -> Mapping[str, Deployment]:
    return {one.model: one for one in reversed(fleet.deployments)}


def expected_refusals(text: str) -> dict[int, str]:
    found = ((number, REFUSED.search(line)) for number, line in enumerate(text.splitlines(), 1))
    return {number: marked[1] for number, marked in found if marked}


def fixed(text: str) -> str:
    lines = (line for line in text.splitlines() if not REFUSED.search(line) and not line.endswith("# gone"))
    return "\n".join(line.replace("#+ ", "", 1) for line in lines) + "\n"


def test_there_are_files_that_start_and_files_that_are_refused() -> None:
    refused = [file.stem for file in FILES if expected_refusals(file.read_text())]

    assert ["budgets", "logins", "test_doubles"] == refused
    assert 14 == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_refused_is_named_with_a_fix_that_works(file: Path, tmp_path: Path) -> None:
    refusals = expected_refusals(file.read_text())
    examined = litellm_config.examine(file)

    found = {int(line.split(":")[1]): line for line in examined.mistakes}
    assert refusals.keys() == found.keys(), examined.mistakes
    assert all(words in found[number] for number, words in refusals.items()), examined.mistakes
    repaired = tmp_path / "litellm_config.yaml"
    repaired.write_text(fixed(file.read_text()))
    assert litellm_config.load(repaired).deployments


def test_wildcards_are_every_model_of_the_price_table_and_leave_entries_of_their_own_alone() -> None:
    fleet = load("provider_wildcards")

    models = by_model(fleet)
    assert {"openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini-2.5-flash"} <= models.keys()
    assert ("gemini", "gemini-2.5-flash") == (
        models["gemini-2.5-flash"].provider,
        models["gemini-2.5-flash"].litellm_model,
    )
    assert all(one.price.known for one in fleet.deployments)
    (own,) = (one for one in fleet.deployments if one.model == "openai/gpt-4o")
    assert 3 == own.rpm
    assert ["ollama_chat/qwen3:14b"] == [
        one.model for one in fleet.deployments if one.provider == "ollama_chat"
    ]
    (warning,) = fleet.warnings
    assert "only that server knows its models" in warning


def test_an_entry_for_everything_is_what_common_providers_serve() -> None:
    models = by_model(load("catch_all"))

    assert {
        "gpt-4o",
        "claude-haiku-4-5",
        "gemini/gemini-2.5-flash",
        "mistral/mistral-large-latest",
    } <= models.keys()
    assert "OPENAI_API_KEY" == models["gpt-4o"].key_ref
    assert "ANTHROPIC_API_KEY" == models["claude-haiku-4-5"].key_ref


def test_aliases_reach_what_a_wildcard_stands_for() -> None:
    fleet = load("star_for_one_provider")

    assert {"gpt-4": "gpt-4o", "cheap": "gpt-4o-mini"} == fleet.aliases
    assert {"gpt-4o", "gpt-4o-mini"} <= by_model(fleet).keys()


def test_the_clouds_names_of_models_are_priced() -> None:
    quick, bedrock, vertex = (
        by_model(load("quick_start")),
        by_model(load("bedrock")),
        by_model(load("vertex")),
    )

    per_mtok = {
        name: (one.price.rates.input / 1e9, one.price.rates.output / 1e9)
        for name, one in {**quick, **bedrock, **vertex}.items()
    }
    assert (2.5, 10.0) == per_mtok["gpt-4o"]
    assert (0.06, 0.24) == per_mtok["bedrock-nova"]
    assert (
        (3.0, 15.0) == per_mtok["claude-sonnet"] == per_mtok["claude-by-arn"] == per_mtok["claude-on-vertex"]
    )
    assert (0.8, 3.2) == per_mtok["nova-pro"]
    assert (1.25, 10.0) == per_mtok["gemini-pro"]


def test_what_nobody_knows_the_price_of_starts_and_says_so_once() -> None:
    fleet = load("routers")

    assert {"openrouter/claude": False, "openrouter/priced": True, "elsewhere": False} == {
        one.model: one.price.known for one in fleet.deployments
    }
    assert 2 == sum("is not known, so its cost is null" in line for line in fleet.warnings)


def test_what_runs_on_ones_own_machines_is_free_and_needs_no_key() -> None:
    fleet = load("on_one_machine")

    assert all(one.free for one in fleet.deployments)
    assert [""] * 5 == [credentials.missing(one, {}) for one in fleet.deployments]
    assert () == fleet.warnings


def test_what_is_missing_to_call_a_deployment_is_named() -> None:
    absent = {one.model: credentials.missing(one, {}) for one in load("quick_start").deployments}

    assert {
        "gpt-4o": "AZURE_KEY_CA",
        "anthropic-haiku": "ANTHROPIC_API_KEY",
        "bedrock-nova": "AWS_PROFILE",
        "house-models": "",
    } == absent
    nova = by_model(load("quick_start"))["bedrock-nova"]
    assert "" == credentials.missing(nova, {"AWS_ACCESS_KEY_ID": "AKIA"})
    first = load("load_balancing").deployments[0]
    assert "AZURE_API_BASE" == credentials.missing(first, {"AZURE_API_KEY": "k"})


def test_variables_of_the_file_stand_behind_those_of_the_environment() -> None:
    file = Path(__file__).parent / "litellm_files" / "in_a_cluster.yaml"

    found = configured_environment.variables(file, {"GROQ_API_KEY": "from outside", "HOME": "/"})

    assert {"GROQ_API_KEY": "from outside", "REDIS_HOST": "redis-master", "HOME": "/"} == found


def test_general_settings_stand_for_variables_of_the_gateway(tmp_path: Path) -> None:
    catch_all = next(file for file in FILES if file.stem == "catch_all")
    (tmp_path / "litellm_config.yaml").write_text(catch_all.read_text())
    outside = {
        "LUMNI_CONFIG_DIR": str(tmp_path),
        "LITELLM_MASTER_KEY": "sk-master",
        "LITELLM_DATABASE_URL": "postgresql://there",
    }

    found = configured_environment.of_gateway(outside)
    overruled = configured_environment.of_gateway({**outside, "LUMNI_ADMIN_KEY": "sk-own"})

    assert ("sk-master", "postgresql://there") == (found["LUMNI_ADMIN_KEY"], found["DATABASE_URL"])
    assert "sk-own" == overruled["LUMNI_ADMIN_KEY"]
    assert {"LUMNI_CONFIG_DIR": "nowhere"} == configured_environment.of_gateway(
        {"LUMNI_CONFIG_DIR": "nowhere"}
    )
