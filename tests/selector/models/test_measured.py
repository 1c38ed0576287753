"""What was measured here is the first evidence of how good a model is."""

import random
from pathlib import Path

import numpy as np
import pytest

from services.chassis.eligibility import Policy, Requirements
from services.chassis.measured_scores import Measured, write
from services.selector.configuration import assemble
from services.selector.models.benchmarks import CATEGORIES
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.measured import on_one_scale
from services.selector.models.options import Options
from services.selector.ranking.select import Preferences, Selector, Task
from tests.selector.fleets import catalog, deployment, fleet, healthy


def measured(share: float, n: int = 20) -> Measured:
    return Measured(share, n, 0.0, 1.0, "2026-11-22")


def test_without_measurements_published_scores_count_as_they_are() -> None:
    published = np.array([0.3, 0.6])

    assert published is on_one_scale(published, [None, None])


def test_measured_models_go_by_their_tasks_and_move_the_others_with_them() -> None:
    published = np.array([0.8, 0.6, 0.4, 0.7])

    quality = on_one_scale(published, [measured(0.2), measured(0.5), None, None])

    # The tasks were hard here: what was not asked is taken to find them as hard, in the published order.
    assert quality[0] < quality[1]
    assert quality[2] < quality[3] < 0.7
    assert abs(quality[1] - 0.5) < 0.05


def test_few_tasks_say_little() -> None:
    published = np.array([0.9, 0.5])

    once = on_one_scale(published, [measured(0.0, 1), measured(1.0, 1)])
    often = on_one_scale(published, [measured(0.0, 20), measured(1.0, 20)])

    assert once[0] > once[1]
    assert often[0] < often[1]


@pytest.mark.parametrize("tasks", [1, 4, 20])
def test_who_does_as_published_says_stays_in_place(tasks: int) -> None:
    published = np.array([0.9, 0.92, 0.1])

    quality = on_one_scale(published, [measured(0.9, tasks), None, measured(0.1, tasks)])

    assert np.allclose(published, quality)


def test_a_distance_counts_by_its_tasks() -> None:
    published = np.array([0.5, 0.5, 0.5])

    quality = on_one_scale(published, [measured(0.2, 40), measured(0.8, 4), None])

    assert quality[2] < 0.4


def choices(scores: dict[str, dict[str, Measured]], published: dict[str, float]) -> dict[str, str]:
    """The best model of each category by strategy quality."""
    fleet_ = fleet([deployment(name) for name in published])
    known = catalog(published)
    chosen = Selector(DeploymentTable(fleet_, known, Options(), scores), known)
    return {
        category: chosen.table.deployments[
            chosen.select(Task(category), Requirements(), Policy(), Preferences("quality"), healthy(chosen))
            .candidates[0]
            .index
        ].model
        for category in CATEGORIES
    }


def test_the_regret_on_other_prompts_halves() -> None:
    # Published scores do not know what these models can do at which category.
    draw = random.Random(1)
    published = {"a": 80.0, "b": 70.0, "c": 60.0, "d": 50.0}
    strength = {
        category: dict(zip(published, draw.sample([0.95, 0.7, 0.4, 0.1], 4), strict=True))
        for category in CATEGORIES
    }
    scores = {
        name: {
            category: measured(sum(draw.random() < strength[category][name] for _ in range(20)) / 20)
            for category in CATEGORIES
        }
        for name in published
    }

    def regret(chosen: dict[str, str]) -> float:
        # What any number of further prompts would show.
        return sum(max(strength[c].values()) - strength[c][name] for c, name in chosen.items())

    assert regret(choices(scores, published)) <= regret(choices({}, published)) / 2


def test_a_selection_names_what_was_measured() -> None:
    known = catalog({"a": 80.0, "b": 40.0})
    scores = {"a": {"code": measured(0.1)}, "b": {"code": measured(0.9)}}
    table = DeploymentTable(fleet([deployment("a"), deployment("b")]), known, Options(), scores)
    chosen = Selector(table, known)

    def reason(task: Task) -> str:
        return chosen.select(task, Requirements(), Policy(), Preferences("quality"), healthy(chosen)).reason

    assert "b is best for a powerful code request" in reason(Task("code"))
    assert reason(Task("code")).endswith("(measured here, n = 20, 2026-11-22)")
    assert "measured" not in reason(Task("math"))
    assert reason(Task("code", long_context=True)).startswith("a is best")


def test_scores_of_one_deployment_go_before_those_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(
        "model_list:\n"
        "  - {model_name: m, litellm_params: {model: openai/x}, model_info: {id: one}}\n"
        "  - {model_name: m, litellm_params: {model: openai/y}, model_info: {id: two}}\n"
    )
    write(
        tmp_path / "measured_scores.yaml",
        {"m": {"code": measured(0.5), "math": measured(0.4)}, "two": {"code": measured(0.9)}},
    )

    table = assemble(tmp_path).table

    assert [0.5, 0.9] == [one["code"].share for one in table.measured]
    assert [0.4, 0.4] == [one["math"].share for one in table.measured]
