"""`lumni check` says what becomes of a configuration, before anything starts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.gateway.cli.commands import app

FILES = Path(__file__).parents[2] / "chassis" / "litellm_files"


def checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    done = CliRunner().invoke(app, ["check", str(file)])
    return done.exit_code, done.output


def test_a_file_that_starts_is_shown_with_what_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = checked(FILES / "load_balancing.yaml", monkeypatch)

    lines = [line.split() for line in said.splitlines()]
    assert 0 == code
    assert "gpt-4o azure/gpt-4o 2.5 in, 10 out AZURE_API_BASE (not set here) standard".split() in lines
    assert "gpt-4o openai/gpt-4o 2.5 in, 10 out OPENAI_API_KEY standard".split() in lines
    assert "load_balancing.yaml:30: router_settings.redis_host: Redis is named by REDIS_URL; ignored" in said
    assert said.rstrip().endswith("Lumni starts with this file.")
    assert "canary" not in said


def test_a_file_that_is_refused_is_shown_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = checked(FILES / "budgets.yaml", monkeypatch)

    assert 1 == code
    assert (
        "budgets.yaml:21: litellm_settings.max_budget: set rpm, tpm, parallel or budget_usd in the plans"
        in said
    )
    assert said.rstrip().endswith("Lumni does not start with this file.")


def test_a_wildcard_is_one_line_with_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = checked(FILES / "star_for_one_provider.yaml", monkeypatch)

    (line,) = (line for line in said.splitlines() if "more" in line)
    assert "each its own" in line


OWN = """\
default_plan: free
plans:
  free: {access_groups: [all]}
system_prompts:
  base: Answer briefly.
  plans: {free: Name your sources., gold: Hurry.}
  categories: {cooking: Season it.}
  models: [gpt-4o]
  moods: {}
"""


def test_mistakes_in_system_prompts_are_named_with_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lumni.yaml"
    file.write_text(OWN)
    code, said = checked(file, monkeypatch)

    refused = [line.strip() for line in said.partition("Refused:")[2].splitlines() if ":" in line]
    expected = (
        "lumni.yaml:6: system_prompts.plans.gold: there is none of this name; known: free",
        "lumni.yaml:7: system_prompts.categories.cooking: there is none of this name; known: chat, ",
        "lumni.yaml:8: system_prompts.models: expected a mapping of names to values",
        "lumni.yaml:9: system_prompts.moods: is not known; did you mean models?",
    )
    assert 1 == code
    assert all(line.startswith(start) for line, start in zip(refused, expected, strict=True)), refused
    assert said.rstrip().endswith("Lumni does not start with this file.")


def test_system_prompts_that_are_taken_are_shown_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lumni.yaml"
    file.write_text(OWN.partition("  categories")[0].replace(", gold: Hurry.", ""))
    code, said = checked(file, monkeypatch)

    lines = [line.split(maxsplit=1) for line in said.splitlines()]
    assert 0 == code
    assert ["system_prompts", "base, plan:free"] in lines
    assert said.rstrip().endswith("Lumni starts with this file.")
