"""lumni config diff: what would change, by name, and never a secret."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.gateway import configuration
from services.gateway.cli import commands
from services.gateway.cli import configuration as command

FLEET = """
model_list:
  - model_name: small
    litellm_params: {model: openai/gpt-4o-mini, api_base: "https://me:hush@host:8443/v1?key=hush", api_key: sk-hush}
    model_info: {id: one, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
environment_variables: {SOME_TOKEN: hush}
"""
LUMNI = """
plans:
  free: {access_groups: [standard], rpm: 10}
  pro: {access_groups: [standard], budget_usd: 5}
default_plan: free
switches: {selection: true}
system_prompts: {base: Answer briefly.}
alerts: {error_rate: 0.05}
"""

Diff = Callable[..., tuple[int, str]]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that are live."""
    monkeypatch.setenv("LUMNI_CONFIG_DIR", str(tmp_path / "live"))
    return written(tmp_path / "live")


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Diff:
    """Runs the command: its exit code, and what it said."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            commands.main(["config", "diff", *map(str, arguments)])
        assert isinstance(end.value.code, int)
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run


def written(folder: Path, rpm: int = 10) -> Path:
    """Both files."""
    folder.mkdir(exist_ok=True)
    (folder / "litellm_config.yaml").write_text(FLEET)
    (folder / "lumni.yaml").write_text(LUMNI.replace("rpm: 10", f"rpm: {rpm}"))
    return folder


CHANGES = [
    ("lumni.yaml", "rpm: 10", "rpm: 20", "~ plans.free.rate.rpm 10 20"),
    ("lumni.yaml", "budget_usd: 5", "budget_usd: 7.5", "~ plans.pro.budget.limit 5 USD 7.5 USD"),
    ("lumni.yaml", "selection: true", "selection: false", "~ switches.selection True False"),
    ("lumni.yaml", "Answer briefly.", "Answer at length.", "~ system_prompts.base Answer briefly. Answer at length."),
    ("lumni.yaml", "error_rate: 0.05", "error_rate: 0.1", "~ alerts.error_rate 0.05 0.1"),
    ("lumni.yaml", "default_plan: free", "default_plan: pro", "~ default_plan free pro"),
    ("lumni.yaml", "switches:", "selector: {plans: {}}\nswitches:", None),
    ("litellm_config.yaml", "gpt-4o-mini", "gpt-4o", "~ deployments.one.litellm_model gpt-4o-mini gpt-4o"),
    ("litellm_config.yaml", "0.000002}", "0.000003}", "~ prices.one.output 2 USD per Mtok 3 USD per Mtok"),
    ("litellm_config.yaml", "host:8443", "other", "~ deployments.one.api_base https://host:8443/v1"),
    ("litellm_config.yaml", "me:hush@", "me:mush@", "~ deployments.one.api_base https://host:8443/v1"),
    ("litellm_config.yaml", "SOME_TOKEN: hush", "SOME_TOKEN: mush", "In force only when the services start again"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "line"), CHANGES)
def test_each_change_is_named_with_before_and_after_and_no_secret(
    live: Path, tmp_path: Path, diff: Diff, file: str, old: str, new: str, line: str | None
) -> None:
    other = tmp_path / file
    other.write_text((live / file).read_text().replace(old, new))

    code, said = diff("--to", other)

    shown = [" ".join(one.split()) for one in said.splitlines()]
    if line is None:
        assert (0, True) == (code, "Nothing would change" in said)
    else:
        assert 1 == code
        assert any(one.startswith(line) for one in shown), said
    assert "hush" not in said
    assert "mush" not in said


def test_a_plan_that_is_new_or_gone_is_marked_so(live: Path, tmp_path: Path, diff: Diff) -> None:
    other = written(tmp_path / "other")
    (other / "lumni.yaml").write_text(LUMNI.replace("  pro:", "  team:"))

    code, said = diff("--to", other)

    assert 1 == code
    signs = {line.split()[1]: line.split()[0] for line in said.splitlines() if "budget.limit" in line}
    assert {"plans.pro.budget.limit": "-", "plans.team.budget.limit": "+"} == signs


def test_files_that_say_the_same_are_equal(live: Path, tmp_path: Path, diff: Diff) -> None:
    other = written(tmp_path / "other")
    assert (0, "Nothing would change.\n") == diff("--to", other)

    (other / "lumni.yaml").write_text("# A comment.\n" + LUMNI)
    code, said = diff("--to", other)
    assert (0, True) == (code, "differ in comments" in said)


def test_a_mistake_is_trouble_and_is_named_with_its_line(live: Path, tmp_path: Path, diff: Diff) -> None:
    other = tmp_path / "lumni.yaml"
    other.write_text(LUMNI.replace("rpm: 10", "rpm: many"))

    code, said = diff("--to", other)

    assert (2, True) == (code, "lumni.yaml:3: plans.free.rpm" in said)
    assert (2, True) == (diff("--to", tmp_path / "nowhere")[0], True)
    assert 2 == diff()[0]


def test_what_the_gateway_serves_is_compared_with_the_files_here(
    live: Path, tmp_path: Path, diff: Diff, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = configuration.read(written(tmp_path / "served", rpm=40))

    class Served:
        def __call__(self, method: str, path: str) -> dict[str, object]:
            assert ("GET", "/admin/configuration/facts") == (method, path)
            return {"version": served.version, "facts": served.facts}

    monkeypatch.setattr(command, "Gateway", Served)

    code, said = diff("--server")

    assert 1 == code
    assert ["~ plans.free.rate.rpm 40 10"] == [
        " ".join(one.split()) for one in said.splitlines() if "rpm" in one
    ]
