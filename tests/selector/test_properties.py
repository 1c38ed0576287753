"""What must hold for every fleet, request and moment."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.chassis import candidates
from services.chassis.candidates import OnlyOn
from services.chassis.deployments import Deployment, FreeQuota
from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Fault
from services.chassis.strategies import STRATEGIES
from services.selector.live.snapshot import Headroom, Report, Snapshot, merge
from services.selector.models.options import PARTS, Options
from services.selector.ranking.select import Preferences, Selector, Task
from tests.selector.fleets import deployment, selector

ABILITIES = ("vision", "file", "tools", "json_schema")
MODELS = ("ant", "bee", "cat", "dog", "eel")
PROVIDERS = ("openai", "groq")
ALL = Options(candidates=64)


@st.composite
def selectors(draw: st.DrawFn, *, ordered: bool = True, base_model: str = "") -> Selector:
    count = draw(st.integers(1, 10))
    deployments = []
    for number in range(count):
        model = draw(st.sampled_from(MODELS))
        deployments.append(
            deployment(
                f"{model}@{number}",
                dollars=(
                    draw(st.sampled_from([0.0, 0.1, 1.0, 10.0])),
                    draw(st.sampled_from([0.0, 0.4, 4.0, 40.0])),
                ),
                provider=draw(st.sampled_from(PROVIDERS)),
                context_window=draw(st.sampled_from([0, 8_000, 200_000])),
                max_output_tokens=draw(st.sampled_from([0, 1_000])),
                capabilities=draw(st.frozensets(st.sampled_from(ABILITIES))),
                free_quota=draw(st.sampled_from([None, None, FreeQuota(rpd=100)])),
                access_groups=tuple(draw(st.frozensets(st.sampled_from(["free", "paid"])))),
                region=draw(st.sampled_from(["", "eu", "us"])),
                order=draw(st.sampled_from([0, 0, int(ordered)])),
                weight=draw(st.sampled_from([0.0, 1.0, 3.0])),
                base_model=base_model,
            )
        )
    qualities = {model: draw(st.floats(5, 95)) for model in draw(st.sets(st.sampled_from(MODELS)))}
    groups = {draw(st.sampled_from(MODELS)): tuple(draw(st.lists(st.sampled_from(MODELS), max_size=2)))}
    return selector(
        deployments,
        qualities,
        options=ALL,
        fallbacks=groups,
        context_window_fallbacks={draw(st.sampled_from(MODELS)): (draw(st.sampled_from(MODELS)),)},
        content_policy_fallbacks={draw(st.sampled_from(MODELS)): (draw(st.sampled_from(MODELS)),)},
    )


@st.composite
def snapshots(draw: st.DrawFn, chosen: Selector) -> Snapshot:
    replicas = [
        [
            Report(
                one.id,
                breaker_open=draw(st.booleans()),
                latency_ms=draw(st.sampled_from([0.0, 100.0, 3000.0])),
                error_rate=draw(st.sampled_from([0.0, 0.5])),
                in_flight=draw(st.integers(0, 5)),
                callable=draw(st.sampled_from([True, True, False])),
                headroom=(
                    Headroom("rpm", 10, draw(st.integers(0, 10)), 2000.0),
                    Headroom("rpd", 100, draw(st.integers(0, 100)), draw(st.sampled_from([900.0, 50_000.0]))),
                    Headroom("tpd", 10**6, draw(st.sampled_from([1, 10**3, 10**6])), 50_000.0),
                ),
            )
            for one in chosen.table.deployments
        ]
        for _ in range(draw(st.integers(0, 2)))
    ]
    return merge(chosen.table, replicas, 1000.0)


requirements = st.builds(
    Requirements,
    prompt_tokens=st.sampled_from([10, 7_500, 100_000]),
    output_tokens=st.sampled_from([0, 800, 4_000]),
    choices=st.integers(1, 3),
    capabilities=st.lists(st.sampled_from(ABILITIES), unique=True, max_size=2).map(tuple),
)
policy = st.builds(
    Policy,
    allowed_models=st.lists(st.sampled_from(MODELS), unique=True, max_size=3).map(tuple),
    access_groups=st.lists(st.sampled_from(["free", "paid"]), unique=True, max_size=1).map(tuple),
    provider=st.sampled_from(["", "", "openai"]),
    denied_providers=st.sampled_from([(), ("groq",)]),
    denied_regions=st.sampled_from([(), ("us",)]),
    max_cost_nano_usd=st.sampled_from([0, 10_000_000, 200_000_000]),
)
preferences = st.builds(
    Preferences,
    strategy=st.sampled_from(["", *STRATEGIES]),
    model=st.sampled_from(["auto", "auto", *MODELS]),
    free_tail=st.booleans(),
    seed=st.uuids().map(str),
    now_unix_s=st.just(1000.0),
)
tasks = st.builds(Task, category=st.sampled_from(["code", "other"]), powerful=st.booleans())


@given(st.data(), selectors(), tasks, requirements, policy, preferences)
def test_every_candidate_may_and_can_take_the_request_and_nothing_is_listed_twice(
    data: st.DataObject,
    chosen: Selector,
    task: Task,
    asked: Requirements,
    allowed: Policy,
    wanted: Preferences,
) -> None:
    snapshot = data.draw(snapshots(chosen))
    try:
        selection = chosen.select(task, asked, allowed, wanted, snapshot)
    except Fault:
        return
    listed = [candidate.index for candidate in selection.candidates]
    assert len(set(listed)) == len(listed)
    for candidate in selection.candidates:
        one = chosen.table.deployments[candidate.index]
        assert not allowed.allowed_models or one.model in allowed.allowed_models
        assert not allowed.access_groups or set(allowed.access_groups) & set(one.access_groups)
        assert not allowed.provider or one.provider == allowed.provider
        assert one.provider not in allowed.denied_providers
        assert not allowed.denied_regions or (one.region and one.region not in allowed.denied_regions)
        assert set(asked.capabilities) <= one.capabilities
        answer = min(asked.output_tokens, one.max_output_tokens or asked.output_tokens)
        assert not one.context_window or asked.prompt_tokens + answer <= one.context_window
        assert candidate.max_cost_nano_usd == one.price.bound(
            asked.prompt_tokens, asked.output_tokens or one.longest_answer, asked.choices
        )
        assert not allowed.max_cost_nano_usd or candidate.max_cost_nano_usd <= allowed.max_cost_nano_usd
        assert snapshot.callable[candidate.index]
        assert snapshot.closed[candidate.index]
        assert snapshot.in_quota[candidate.index]


@given(st.data(), selectors(base_model="ant"), tasks, requirements, policy, st.sampled_from(MODELS))
def test_a_pinned_model_is_answered_by_itself_or_by_what_is_configured_for_it(
    data: st.DataObject, chosen: Selector, task: Task, asked: Requirements, allowed: Policy, model: str
) -> None:
    snapshot = data.draw(snapshots(chosen))
    try:
        selection = chosen.select(task, asked, allowed, Preferences(model=model), snapshot)
    except Fault:
        return
    # A name that is no group may be the catalog's, of several groups.
    among, group = chosen.resolve(model)
    meant = {deployment.model for deployment in chosen.table.of(among)}
    assert meant == {model} or model not in chosen.table.names.groups
    configured = meant | {name for name, _ in candidates.fallbacks(chosen.table.fleet, group)}
    assert {chosen.table.deployments[one.index].model for one in selection.candidates} <= configured


@st.composite
def selectors_with_health(draw: st.DrawFn) -> tuple[Selector, Snapshot]:
    chosen = draw(selectors())
    return chosen, draw(snapshots(chosen))


def with_health(deployments: list[Deployment], *reports: Report, most: int = 64) -> tuple[Selector, Snapshot]:
    chosen = selector(deployments, options=Options(candidates=most))
    return chosen, merge(chosen.table, [reports] if reports else [], 1000.0)


PAID = {"model": "ant", "dollars": (0.1, 0.4)}
FREE = {**PAID, "free_quota": FreeQuota(tpd=100_000)}
FAST = Task("code", powerful=False)


# Free and billed at one price, and nothing known of their health: load is not spread over such two.
@example(
    with_health([deployment("a", weight=0.0, **FREE), deployment("b", **PAID)]),
    FAST,
    Requirements(prompt_tokens=10),
    Policy(),
    "auto",
)
# A long request, and a token left of the day's: that one is the least preferred of the free.
@example(
    with_health(
        [deployment("a", **FREE), deployment("b", **PAID)],
        Report("a", headroom=(Headroom("tpd", 100_000, 1, 80_000.0),)),
        Report("b"),
    ),
    FAST,
    Requirements(prompt_tokens=100_000),
    Policy(),
    "auto",
)
# More free equals than are listed while there is anything else, and too little else.
@example(
    with_health([deployment(f"a{n}", **FREE) for n in range(5)] + [deployment("b", **PAID)], most=5),
    FAST,
    Requirements(prompt_tokens=10),
    Policy(),
    "auto",
)
@given(selectors_with_health(), tasks, requirements, policy, st.sampled_from(["auto", *MODELS]))
def test_the_free_tail_and_free_first_list_free_deployments_whole_and_before_what_costs(
    given_health: tuple[Selector, Snapshot], task: Task, asked: Requirements, allowed: Policy, model: str
) -> None:
    chosen, snapshot = given_health
    try:
        tail = chosen.select(task, asked, allowed, Preferences(model=model, free_tail=True), snapshot)
        open_ = chosen.select(task, asked, allowed, Preferences(strategy="free_first"), snapshot)
    except Fault:
        return
    free = chosen.table.free
    # What a model left open lists, within the 64 of the options, is all that passes the filters.
    passing = {c.index for c in open_.candidates if c.only_on is OnlyOn.ANY and free[c.index]}
    assert passing <= {c.index for c in tail.candidates if c.only_on is OnlyOn.ANY}
    # Free first: none comes after one that costs, but where LiteLLM's order within a model says so.
    paid = [bool(not free[c.index]) for c in open_.candidates if c.only_on is OnlyOn.ANY]
    assert chosen.table.ordered or paid == sorted(paid)


@given(st.data(), selectors(), tasks, requirements, policy, preferences)
def test_the_same_request_snapshot_and_seed_give_the_same_order(
    data: st.DataObject,
    chosen: Selector,
    task: Task,
    asked: Requirements,
    allowed: Policy,
    wanted: Preferences,
) -> None:
    snapshot = data.draw(snapshots(chosen))
    again = Selector(chosen.table, chosen.catalog)
    outcomes: list[object] = []
    for one in (chosen, chosen, again):
        try:
            outcomes.append(one.select(task, asked, allowed, wanted, snapshot).candidates)
        except Fault as fault:
            outcomes.append((fault.reason, fault.message))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(
    st.lists(st.floats(5, 95), min_size=2, max_size=6),
    st.floats(0.01, 50),
    st.floats(0.5, 0.99),
    tasks,
    st.sampled_from(STRATEGIES),
    st.uuids().map(str),
)
def test_a_cheaper_model_with_all_else_equal_never_ranks_lower(
    qualities: list[float], dollars: float, cheaper: float, task: Task, strategy: str, seed: str
) -> None:
    others = [deployment(f"other{number}") for number in range(len(qualities))]
    known = {f"other{number}": quality for number, quality in enumerate(qualities)} | {
        "dear": 50.0,
        "cheap": 50.0,
    }
    pair = [
        deployment("dear", dollars=(dollars, dollars)),
        deployment("cheap", dollars=(dollars * cheaper, dollars * cheaper)),
    ]
    chosen = selector([*pair, *others], known, options=ALL)
    snapshot = merge(chosen.table, [], 1000.0)
    selection = chosen.select(
        task, Requirements(prompt_tokens=100), Policy(), Preferences(strategy=strategy, seed=seed), snapshot
    )
    models = [chosen.table.deployments[candidate.index].model for candidate in selection.candidates]
    assert models.index("cheap") < models.index("dear")


# LiteLLM's order within a model stands above every score, so there is none here.
@given(
    st.data(),
    selectors(ordered=False),
    tasks,
    st.sampled_from(PARTS),
    st.floats(0.05, 5),
    st.uuids().map(str),
)
def test_raising_a_weight_never_lowers_the_model_that_is_best_on_it(
    data: st.DataObject, chosen: Selector, task: Task, part: str, more: float, seed: str
) -> None:
    snapshot = data.draw(snapshots(chosen))
    asked = Requirements(prompt_tokens=100)

    def ranked(weights: dict[str, float]) -> Any:
        return chosen.select(task, asked, Policy(), Preferences(seed=seed, weights=weights), snapshot)

    try:
        before = ranked({})
    except Fault:
        return
    values = before.scores.parts[PARTS.index(part)]
    eligible = [candidate.index for candidate in before.candidates if candidate.only_on.value == "any"]
    best = max(eligible, key=lambda index: values[index])
    weight = before.scores.weights[PARTS.index(part)]
    after = ranked({part: weight + more})

    def place(selection: Any, model: str) -> int:
        names = [
            chosen.table.deployments[candidate.index].model
            for candidate in selection.candidates
            if candidate.only_on.value == "any"
        ]
        return list(dict.fromkeys(names)).index(model)

    model = chosen.table.deployments[best].model
    assert place(after, model) <= place(before, model)
