"""Free quota is spent where it matters."""

from services.chassis.deployments import FreeQuota
from services.chassis.eligibility import Policy, Requirements
from services.selector.live.snapshot import Headroom, Report, merge
from services.selector.ranking.select import Preferences, Selection, Selector, Task
from tests.selector.fleets import deployment, selector

DAY_S = 86_400
NOON = 12 * 3600.0
QUOTA = FreeQuota(rpd=1000)
FREE = {"dollars": (0.0, 0.0), "free_quota": QUOTA}


def fleet() -> Selector:
    return selector(
        [
            deployment("strong", **FREE),
            deployment("fair", **FREE),
            deployment("bad", **FREE),
            deployment("dear", dollars=(5.0, 20.0)),
            deployment("cheap", dollars=(0.1, 0.4)),
            deployment("cheaper but bad", dollars=(0.01, 0.04)),
        ],
        {"strong": 90, "fair": 75, "bad": 10, "dear": 95, "cheap": 75, "cheaper but bad": 10},
    )


def select(chosen: Selector, *, powerful: bool, left: dict[str, int]) -> Selection:
    reports = [
        Report(one.id, headroom=(Headroom("rpd", 1000, left[one.id], DAY_S),) if one.id in left else ())
        for one in chosen.table.deployments
    ]
    return chosen.select(
        Task("code", powerful),
        Requirements(prompt_tokens=500),
        Policy(),
        Preferences(strategy="free_first", now_unix_s=NOON),
        merge(chosen.table, [reports], NOON),
    )


def listed(chosen: Selector, *, powerful: bool, left: dict[str, int]) -> list[str]:
    selection = select(chosen, powerful=powerful, left=left)
    return [chosen.table.deployments[candidate.index].id for candidate in selection.candidates]


def test_hard_requests_get_the_strongest_free_model_and_easy_ones_the_weakest_that_will_do() -> None:
    left = {"strong": 500, "fair": 500, "bad": 500}
    assert listed(fleet(), powerful=True, left=left)[:3] == ["strong", "fair", "bad"]
    assert listed(fleet(), powerful=False, left=left)[:3] == ["fair", "strong", "bad"]


def test_a_quota_ahead_of_the_day_is_held_for_hard_requests() -> None:
    left = {"strong": 900, "fair": 100, "bad": 500}
    assert listed(fleet(), powerful=False, left=left)[0] == "strong"
    assert listed(fleet(), powerful=True, left={"strong": 450, "fair": 550, "bad": 550})[0] == "strong"


def test_what_is_used_up_is_not_listed_and_paid_models_follow_the_cheapest_that_will_do_first() -> None:
    left = {"strong": 0, "fair": 0, "bad": 10}
    assert listed(fleet(), powerful=False, left=left) == ["bad", "cheap", "dear", "cheaper but bad"]


def test_the_reason_names_when_free_quota_returns_to_a_caller_who_has_to_pay() -> None:
    selection = select(fleet(), powerful=False, left={"strong": 0, "fair": 0, "bad": 0})
    assert selection.reason.endswith(f"; free quota returns in {DAY_S - NOON:.0f} s")
    assert "free quota" not in select(fleet(), powerful=False, left={"strong": 0, "fair": 0, "bad": 1}).reason


def test_only_quotas_that_the_caller_can_use_make_a_day_tight() -> None:
    free = {**FREE, "access_groups": ("mine",)}

    def first(foreign_left: int) -> str:
        chosen = selector(
            [
                deployment("strong", **free),
                deployment("fair", **free),
                *(deployment(f"foreign {i}", **{**FREE, "access_groups": ("others",)}) for i in range(8)),
            ],
            {"strong": 90, "fair": 88},
        )
        left = {f"foreign {i}": foreign_left for i in range(8)} | {"strong": 600, "fair": 1000}
        reports = [Report(name, headroom=(Headroom("rpd", 1000, n, DAY_S),)) for name, n in left.items()]
        selection = chosen.select(
            Task("code", powerful=True),
            Requirements(prompt_tokens=500),
            Policy(access_groups=("mine",)),
            Preferences(strategy="free_first", now_unix_s=NOON),
            merge(chosen.table, [reports], NOON),
        )
        return chosen.table.deployments[selection.candidates[0].index].id

    assert "strong" == first(1000)
    assert "strong" == first(1)


def test_a_long_request_goes_where_requests_are_counted_and_a_short_one_where_tokens_are() -> None:
    chosen = selector(
        [deployment("by request", **FREE), deployment("by token", **FREE)], {"by request": 80, "by token": 80}
    )

    def first(tokens: int) -> str:
        headroom = {
            "by request": Headroom("rpd", 1000, 500, DAY_S),
            "by token": Headroom("tpd", 500_000, 250_000, DAY_S),
        }
        moment = merge(
            chosen.table, [[Report(name, headroom=(one,)) for name, one in headroom.items()]], NOON
        )
        selection = chosen.select(
            Task("code", powerful=False),
            Requirements(prompt_tokens=tokens, output_tokens=100),
            Policy(),
            Preferences(strategy="free_first", now_unix_s=NOON),
            moment,
        )
        return chosen.table.deployments[selection.candidates[0].index].id

    assert "by token" == first(100)
    assert "by request" == first(4000)
