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
from services.selector.models.measured import Array, moved, on_one_scale
from services.selector.models.options import Options
from services.selector.ranking.select import Preferences, Selector, Task
from tests.selector.fleets import catalog, deployment, fleet, healthy


def measured(share: float, n: int = 20) -> Measured:
    return Measured(share, n, 0.0, 1.0, "2026-11-22")


def qualities(published: list[float], *here: Measured | None) -> Array:
    """What models are taken to be worth at code, some of which were measured at it."""
    scores = [{"code": one} if one else {} for one in here]
    before = np.array(published)
    return moved(before, on_one_scale(before[:, None], scores, ["code"])[:, 0])


def test_measured_models_go_by_their_tasks_and_move_the_others_with_them() -> None:
    quality = qualities([0.8, 0.6, 0.4, 0.7], measured(0.2), measured(0.5), None, None)

    # The tasks were hard here: what was not asked is taken to find them as hard, in the published order.
    assert quality[0] < quality[1]
    assert quality[2] < quality[3] < 0.7
    assert abs(quality[1] - 0.5) < 0.05


def test_few_tasks_say_little() -> None:
    once = qualities([0.9, 0.5], measured(0.0, 1), measured(1.0, 1))
    often = qualities([0.9, 0.5], measured(0.0, 20), measured(1.0, 20))

    assert once[0] > once[1]
    assert often[0] < often[1]


def test_many_tasks_say_all() -> None:
    quality = qualities([0.9, 0.3, 0.5], measured(0.25, 5000), measured(0.75, 5000), measured(1.0, 5000))

    assert np.allclose([0.25, 0.75], quality[:2], atol=0.005)
    assert quality[2] > 0.97


@pytest.mark.parametrize("tasks", [1, 4, 20])
def test_who_does_as_published_says_stays_in_place(tasks: int) -> None:
    quality = qualities([0.9, 0.92, 0.1], measured(0.9, tasks), None, measured(0.1, tasks))

    assert np.allclose([0.9, 0.92, 0.1], quality)


def test_a_distance_counts_by_its_tasks() -> None:
    quality = qualities([0.5, 0.5, 0.5], measured(0.2, 40), measured(0.8, 4), None)

    assert quality[2] < 0.4


def test_tasks_of_other_categories_say_how_good_a_model_is_and_less_than_its_own() -> None:
    published = np.full((2, 3), 0.5)
    elsewhere = {"code": measured(0.9), "math": measured(0.9)}
    weak = {"code": measured(0.1), "math": measured(0.1)}

    moves = on_one_scale(published, [elsewhere, weak], ["code", "math", "chat"])
    opposed = on_one_scale(published, [elsewhere | {"chat": measured(0.1)}, weak], ["code", "math", "chat"])

    # Nobody was asked to chat, and yet one of the two is likely to be better at that.
    assert moves[0, 2] > 0 > moves[1, 2]
    assert 0 < moves[0, 2] < moves[0, 0]
    assert opposed[0, 2] < 0 < opposed[0, 0]


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
    # Code says something of mathematics, too.
    assert reason(Task("math")).endswith("(measured here at other tasks, n = 20)")
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
