"""Charts and numbers: drawn in proportion, and never with a caller's text as markup."""

from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from services.chassis.money import NANO
from services.gateway.dashboard import charts, formats, spend
from services.gateway.dashboard.charts import HEIGHT, WIDTH, Bar, Span
from services.gateway.dashboard.periods import HOUR, PERIODS, period
from services.gateway.reports.usage import UsageQuery

EVIL = "<script>alert(1)</script>\"'&"


def rects(chart: str, kind: str) -> list[dict[str, float]]:
    """The rectangles of a class, as numbers."""
    found = ElementTree.fromstring(chart).iter("rect")
    return [
        {name: float(one.attrib[name]) for name in ("x", "y", "width", "height")}
        for one in found
        if one.attrib["class"] == kind
    ]


def test_bars_stand_on_the_ground_in_proportion() -> None:
    chart = charts.bars([Bar("a", (("good", 3), ("bad", 1))), Bar("b", (("good", 2), ("bad", 0)))], label="x")

    first, second = rects(chart, "good")
    (bad,) = rects(chart, "bad")
    assert (HEIGHT, HEIGHT) == (first["y"] + first["height"], second["y"] + second["height"])
    assert (HEIGHT * 0.75, HEIGHT * 0.5) == (first["height"], second["height"])
    assert (0, first["y"]) == (bad["y"], bad["y"] + bad["height"])
    assert WIDTH / 2 == second["x"] - first["x"]


def test_what_is_very_little_is_seen_and_nothing_is_not() -> None:
    chart = charts.bars(
        [Bar("a", (("spend", 10**15),)), Bar("b", (("spend", 1),)), Bar("c", (("spend", 0),))], label="x"
    )

    assert [HEIGHT, 1] == [one["height"] for one in rects(chart, "spend")]


@pytest.mark.parametrize("values", [[], [Bar("a", (("spend", 0),))]])
def test_a_chart_of_nothing_is_empty(values: list[Bar]) -> None:
    assert not rects(charts.bars(values, label="nothing"), "spend")


def test_a_timeline_has_one_scale() -> None:
    chart = charts.timeline(
        [Span("one", "failed", 0, 50), Span("two", "final", 50, 150, first_ms=30)], label="attempts"
    )

    (failed,), (final,), (first,) = (rects(chart, kind) for kind in ("failed", "final", "first"))
    assert (0, WIDTH / 4) == (failed["x"], failed["width"])
    assert (WIDTH / 4, WIDTH * 3 / 4) == (final["x"], final["width"])
    assert WIDTH * 80 / 200 == first["x"]
    assert final["y"] > failed["y"] + failed["height"]


def test_a_share_is_never_wider_than_its_track() -> None:
    for part, width in ((0, 0), (5, WIDTH / 2), (10, WIDTH), (11, WIDTH), (-1, 0)):
        (bar,) = rects(charts.share(part, 10, kind="spend", label="x"), "spend")
        assert width == bar["width"]


def test_signed_bars_go_both_ways_from_the_middle() -> None:
    (left,) = rects(charts.signed(-1, 2, label="x"), "negative")
    (right,) = rects(charts.signed(2, 2, label="x"), "positive")

    assert (WIDTH / 4, WIDTH / 4) == (left["x"], left["width"])
    assert (WIDTH / 2, WIDTH / 2) == (right["x"], right["width"])


@pytest.mark.parametrize(
    "chart",
    [
        charts.bars([Bar(EVIL, (("spend", 1),))], label=EVIL),
        charts.share(1, 2, kind="spend", label=EVIL),
        charts.stacked([(EVIL, 0.5)], 1, label=EVIL),
        charts.signed(1, 2, label=EVIL),
        charts.timeline([Span(EVIL, "final", 0, 1)], label=EVIL),
    ],
)
def test_a_text_stays_a_text(chart: str) -> None:
    parsed = ElementTree.fromstring(chart)

    assert EVIL == parsed.attrib["aria-label"]
    assert {"svg", "g", "title", "rect"} >= {one.tag for one in parsed.iter()}
    assert all(EVIL == one.text for one in parsed.iter("title"))


@pytest.mark.parametrize(
    ("nano_usd", "short", "plain"),
    [
        (0, "$0.00", "0"),
        (1, "$0.0000000010", "0.000000001"),
        (12_345_678, "$0.0123", "0.012345678"),
        (999_999_999_999_999_999, "$1,000,000,000.00", "999999999.999999999"),
        (-5_000_000, "-$0.0050", "-0.005"),
        (10_000_000_000, "$10.00", "10"),
    ],
)
def test_money_is_rounded_for_the_eye_and_exact_beside_it(nano_usd: int, short: str, plain: str) -> None:
    shown = ElementTree.fromstring(formats.money(nano_usd))

    assert (short, plain) == (shown.text, shown.attrib["value"])
    assert Decimal(plain) * 10**9 == nano_usd


def test_a_price_that_nobody_knows_is_no_zero() -> None:
    assert "$" not in formats.money(None)


@pytest.mark.parametrize("name", PERIODS)
def test_the_steps_of_a_period_are_those_of_the_ledgers_sums(name: str) -> None:
    now = datetime(2026, 3, 1, 13, 37, tzinfo=UTC)
    shown = period(name)
    starts = shown.starts(now)

    assert shown.steps == len(starts) == len({shown.key(start) for start in starts})
    assert starts[-1] <= now < starts[-1] + shown.step
    assert all(0 == start.minute for start in starts)
    assert shown.step != PERIODS["7d"].step or all(0 == start.hour for start in starts)


def test_an_unknown_period_is_the_usual_one() -> None:
    assert "24h" == period("1000y").name


@pytest.mark.parametrize(
    ("name", "hour", "days"),
    [
        ("6h", 2, ["2026-02-28", "2026-03-01"]),
        ("6h", 13, ["2026-03-01"]),
        ("24h", 13, ["2026-02-28", "2026-03-01"]),
        ("24h", 23, ["2026-03-01"]),
        ("7d", 13, [f"2026-02-{day}" for day in range(23, 29)] + ["2026-03-01"]),
    ],
)
def test_spend_by_day_has_a_bar_for_each_day_that_the_period_touches(
    name: str, hour: int, days: list[str]
) -> None:
    now = datetime(2026, 3, 1, hour, tzinfo=UTC)
    rows = [{"day": day, "cost_nano_usd": NANO} for day in days]

    chart = spend.bars(UsageQuery(period(name).starts(now)[0], now + HOUR), rows, "day")

    titles = [one.text for one in ElementTree.fromstring(chart).iter("title")]
    assert [f"{day}: 1 USD" for day in days] == titles
