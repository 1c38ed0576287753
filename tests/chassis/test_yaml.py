"""YAML whose mistakes are listed with their line, all at once."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from services.chassis import yaml
from services.chassis.config import Mistakes


def load(folder: Path, text: str) -> yaml.Section:
    path = folder / "file.yaml"
    path.write_text(text)
    return yaml.load(path)


def lines(root: yaml.Section) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        root.finish()
    return list(caught.value.lines)


def test_values_are_read_as_what_they_are(tmp_path: Path) -> None:
    root = load(
        tmp_path,
        """
name: yes-man
version: 1.10
share: 0.25
count: 3
on: true
budget: 0.1
words: [a, 2, c]
plans:
  free: {rpm: 1}
  pro: {rpm: 2}
rules:
  - {if: x}
  - {if: y}
empty:
""",
    )
    assert "yes-man" == root.text("name", "")
    assert "1.10" == root.text("version", "")
    assert 0.25 == root.number("share", 0.0, low=0, high=1)
    assert 3 == root.integer("count", 0)
    assert Decimal("0.1") == root.decimal("budget", None)
    assert ("a", "2", "c") == root.texts("words")
    assert {"free": 1, "pro": 2} == {
        name: plan.integer("rpm", 0) for name, plan in root.section("plans").sections()
    }
    assert ["x", "y"] == [rule.text("if", "") for rule in root.items("rules")]
    assert "fallback" == root.text("empty", "fallback")
    assert () == root.section("nowhere").keys
    root.finish()


def test_all_mistakes_are_listed_in_the_files_order_with_path_and_line(tmp_path: Path) -> None:
    root = load(
        tmp_path,
        """plans:
  free:
    rpm: many
    budgett: 1
  pro:
    rpm: 1
    rpm: 2
    share: .nan
typo: 1
""",
    )
    root.only("plans")
    for _, plan in root.section("plans").sections():
        plan.require("models")
        plan.integer("rpm", 0, low=0)
        plan.decimal("budget", None)
        plan.number("share", 0.0)
    assert [
        "file.yaml:3: plans.free.models: is missing",
        "file.yaml:3: plans.free.rpm: expected a whole number of at least 0",
        "file.yaml:4: plans.free.budgett: is not known; did you mean budget?",
        "file.yaml:6: plans.pro.models: is missing",
        "file.yaml:6: plans.pro: rpm is written more than once",
        "file.yaml:7: plans.pro: rpm is written more than once",
        "file.yaml:8: plans.pro.share: expected a number",
        "file.yaml:9: typo: is not known",
    ] == lines(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", "file.yaml:2: expected ',' or ']', but got '<stream end>'"),
        ("- a\n", "file.yaml:1: expected a mapping of names to values"),
    ],
)
def test_a_file_that_is_no_mapping_is_a_mistake(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(Mistakes) as caught:
        load(tmp_path, text).finish()
    assert [expected] == list(caught.value.lines)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistakes, match=r"missing\.yaml"):
        yaml.load(tmp_path / "missing.yaml")


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    root = load(tmp_path, "base: &base {rpm: 1, tpm: 2}\nplan: {<<: *base, rpm: 3}\n")
    plan = root.section("plan")
    assert (3, 2) == (plan.integer("rpm", 0), plan.integer("tpm", 0))


def doubling(again: str) -> str:
    """A file each line of which repeats the one before twice."""
    return "p0: &p0 {a: 1}\n" + "".join(f"p{i}: &p{i} {again.format(i - 1)}\n" for i in range(1, 40))


@pytest.mark.parametrize("again", ["{{<<: [*p{0}, *p{0}]}}", "{{a: *p{0}, b: *p{0}}}", "[*p{0}, *p{0}]"])
def test_aliases_of_aliases_are_refused_where_they_repeat_too_much(tmp_path: Path, again: str) -> None:
    with pytest.raises(Mistakes) as caught:
        load(tmp_path, doubling(again))
    (line,) = caught.value.lines
    assert re.fullmatch(r"file\.yaml:1\d: aliases repeat more than 100,000 keys and values", line)


@pytest.mark.parametrize("text", ["a: &a {b: *a}", "a: &a {<<: *a}", "a: &a [[*a]]"])
def test_an_alias_in_what_it_repeats_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Mistakes, match=r"^file\.yaml:1: \*a stands in what it repeats$"):
        load(tmp_path, text)


def test_many_may_repeat_the_same(tmp_path: Path) -> None:
    models = ", ".join(f"m{i}" for i in range(200))
    root = load(tmp_path, f"a: &all [{models}]\n" + "".join(f"p{i}: {{models: *all}}\n" for i in range(400)))
    assert 200 == len(root.section("p399").texts("models"))


@pytest.mark.parametrize("merged", ["3", "[3]"])
def test_a_merge_of_what_is_no_mapping_is_a_mistake(tmp_path: Path, merged: str) -> None:
    root = load(tmp_path, f"plan:\n  <<: {merged}\n  rpm: 3\n")
    plan = root.section("plan")
    assert 3 == plan.integer("rpm", 0)
    (line,) = lines(root)
    assert line.startswith("file.yaml:2: plan: cannot be read: expected a mapping")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object:os.system {}", "a: cannot be read"),
        ("a: 2026-13-45", "a: cannot be read"),
        (r'a: "\U00110000"', "some.yaml: chr()"),
        (r'a: "\UFFFFFFFF"', "some.yaml: Python int too large"),
        ("a: \x1f", "special characters"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_what_yaml_cannot_read_is_a_mistake_too(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)

    with pytest.raises(Mistakes) as mistakes:
        root = yaml.load(file)
        root.plain("a", None)
        root.finish()

    assert said in str(mistakes.value)
