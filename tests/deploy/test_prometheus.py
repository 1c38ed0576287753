"""The alerts fire and clear, and rules, examples and the dashboard hold what Prometheus understands."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from scripts import metrics_table
from services.gateway.alerts import judge
from services.gateway.alerts.budget_burn import Spending, Spent
from services.gateway.alerts.judge import Facts
from services.gateway.alerts.recent_requests import Shares
from services.gateway.config.alerts import Thresholds
from tests import prometheus_rules, tools

RUNBOOK = Path(__file__).parents[2] / "docs" / "monitoring.md"
TESTS = Path(__file__).with_name("alerts_test.yml")
# What Grafana puts in the place of its own variables.
RATE_INTERVAL = ("$__rate_interval", "1m")


@pytest.fixture(scope="module")
def promtool() -> Path:
    return tools.find_or_skip("promtool")


def run(promtool: Path, *arguments: str | Path) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_configuration_is_valid(promtool: Path) -> None:
    run(promtool, "check", "config", prometheus_rules.RULES.with_name("prometheus.yml"))


def test_every_alert_fires_and_clears(promtool: Path) -> None:
    run(promtool, "test", "rules", TESTS)


def test_every_alert_has_a_case_in_which_it_fires_and_one_after_it_in_which_it_does_not() -> None:
    fired: dict[str, set[int]] = defaultdict(set)
    cleared: dict[str, set[int]] = defaultdict(set)
    for number, case in enumerate(yaml.safe_load(TESTS.read_text())["tests"]):
        for expected in case["alert_rule_test"]:
            name = expected["alertname"]
            if expected["exp_alerts"]:
                fired[name].add(number)
            elif number in fired[name]:
                cleared[name].add(number)

    assert (
        set(prometheus_rules.rules("alert"))
        == set(fired)
        == {name for name, cases in cleared.items() if cases}
    )


def test_the_dashboards_expressions_are_valid(promtool: Path, tmp_path: Path) -> None:
    records = [
        {"record": f"panel:{number}", "expr": expression.replace(*RATE_INTERVAL)}
        for number, expression in enumerate(prometheus_rules.expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))

    run(promtool, "check", "rules", file)


def test_the_dashboard_names_only_rules_that_there_are() -> None:
    known = set(prometheus_rules.rules("record"))
    named = {
        word for one in prometheus_rules.expressions() for word in one.split() if word.startswith("lumni:")
    }

    assert named
    assert named <= known


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in prometheus_rules.panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    runbook = RUNBOOK.read_text()
    for name, rule in prometheus_rules.rules("alert").items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
        assert f"\n#### {name}\n" in runbook, name


def test_the_runbook_says_which_alerts_need_prometheus() -> None:
    worst = Facts(
        Shares(requests=100, error_rate=1.0, fallback_rate=1.0, answer_s=60.0),
        down=["d"],
        providers_down=["p"],
        flapping=["d"],
        keys_expiring=9,
        pool_share=1.0,
        ledger_behind_s=1e9,
        poison=1,
        spending=Spending((Spent(10**12, 300),) * 2, (Spent(10**12, 1800),) * 2),
    )
    of_webhook = set(judge.firing(worst, Thresholds(budget_usd=1)))
    section = RUNBOOK.read_text().partition("## Alerts without Prometheus\n")[2].partition("\n## ")[0]
    told, _, alone = section.partition("The others need Prometheus")

    assert of_webhook == set(re.findall(r"\bLumni[A-Z]\w+", told))
    listed = alone.partition("`LUMNI_ALERTS_FORMAT`")[0]
    assert set(prometheus_rules.rules("alert")) - of_webhook == set(re.findall(r"\bLumni[A-Z]\w+", listed))


def test_the_table_of_metrics_is_the_codes() -> None:
    document = metrics_table.DOCUMENT.read_text()

    assert document == metrics_table.with_table(document), "run scripts/metrics_table.py"
