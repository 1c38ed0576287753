"""The contract's circumstances and past decisions: packed when something is selected, unpacked when it is replayed."""

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2 as pb

from services.chassis import selection_messages
from services.chassis.enums import word
from services.selector.live import past_health
from services.selector.live.past_health import State
from services.selector.live.snapshot import Headroom, Snapshot
from services.selector.models.deployment_table import Array, DeploymentTable
from services.selector.ranking.replay import Past, Then
from services.selector.ranking.select import Preferences, Task
from services.selector.ranking.tier import Judged, Split

# States that are kept with a decision, of some 50 to 150 bytes each: the more limits are begun, the more.
MOST_STATES = 256
# A classifier of a later version may know further ones.
CATEGORIES = {value: word(classifier_pb2.Category, value) for value in classifier_pb2.Category.values()}


class KeptHealth:
    """The states of the latest snapshot as a message, so that they are packed once and not for each request."""

    def __init__(self) -> None:
        self._known: tuple[Snapshot | None, pb.Circumstances] = (None, pb.Circumstances())

    def of(self, table: DeploymentTable, snapshot: Snapshot) -> pb.Circumstances:
        """Circumstances that have nothing but the states; not to be changed."""
        if self._known[0] is not snapshot:
            states = past_health.kept(table, snapshot)
            packed = pb.Circumstances(
                states=map(_state, states[:MOST_STATES]), incomplete=len(states) > MOST_STATES
            )
            self._known = (snapshot, packed)
        return self._known[1]


def pack(
    into: pb.Circumstances, table: DeploymentTable, split: Split, recent: Array | None, now_unix_s: float
) -> None:
    """Add to circumstances what is not of the deployments' health."""
    into.selected_unix_s = now_unix_s
    if split.share is not None:
        into.powerful_share = split.share
    elif split.threshold is not None:
        into.threshold = split.threshold
    if recent is not None:
        for number in recent.nonzero()[0].tolist():
            into.recent_shares[table.models[number]] = recent[number]


def task(judged: classifier_pb2.Classification, *, powerful: bool) -> Task:
    """The kind of request."""
    return Task(
        category=CATEGORIES.get(judged.category) or "other",
        powerful=powerful,
        long_context=judged.long_context,
        multilingual=judged.language not in ("", "en", "und") and not judged.language.startswith("en-"),
    )


def judgement(judged: classifier_pb2.Classification) -> Judged:
    """What the classifier found."""
    return Judged(judged.strong_win_rate, judged.version, is_powerful(judged.tier))


def is_powerful(given: "classifier_pb2.Tier.ValueType") -> bool | None:
    """Whether a tier is powerful; None where it is not set."""
    return given == classifier_pb2.TIER_POWERFUL if given else None


def own_split(policy: pb.Policy) -> dict[str, float | None]:
    """The share and the threshold that a policy has, as `Split.of_policy` takes them."""
    return _split(policy, policy.WhichOneof("split"))


def preferences(request: pb.SelectRequest, now_unix_s: float) -> Preferences:
    """What the caller wants within its policy."""
    policy = request.policy
    return Preferences(
        strategy=policy.strategy,
        model=request.model,
        free_tail=policy.free_tail,
        weights=dict(policy.weights),
        seed=request.context.request_id,
        now_unix_s=now_unix_s,
    )


def past(message: pb.PastDecision) -> Past:
    """A request of the past."""
    request, met = message.request, message.circumstances
    powerful = is_powerful(message.tier)
    return Past(
        tenant=request.context.tenant,
        plan=request.context.plan,
        # Whether it is powerful now is decided when it is replayed.
        task=task(request.classification, powerful=bool(powerful)),
        judged=judgement(request.classification),
        forced=is_powerful(request.policy.tier),
        requirements=selection_messages.requirements(request.requirements),
        policy=selection_messages.policy(request.policy),
        preferences=preferences(request, met.selected_unix_s),
        then=Then(
            split=Split(**_split(met, met.WhichOneof("split"))),
            powerful=powerful,
            states=tuple(map(_unpacked, met.states)),
            recent_shares=dict(met.recent_shares),
            first_model=message.first_model,
            learned_qualities=dict(met.learning.qualities),
            explored=met.learning.explored,
        ),
        **own_split(request.policy),
    )


def _split(message: pb.Policy | pb.Circumstances, which: str | None) -> dict[str, float | None]:
    return {
        "share": message.powerful_share if which == "powerful_share" else None,
        "threshold": message.threshold if which == "threshold" else None,
    }


def _state(state: State) -> pb.DeploymentState:
    return pb.DeploymentState(
        deployment=state.deployment,
        not_callable=not state.callable,
        open=not state.closed,
        latency_ms=state.latency_ms,
        availability=state.availability,
        in_flight=state.in_flight,
        headroom=(
            pb.LimitState(
                limit=one.limit,
                total=one.total,
                remaining=one.remaining,
                resets_unix_s=one.resets_unix_s,
            )
            for one in state.headroom
        ),
    )


def _unpacked(message: pb.DeploymentState) -> State:
    return State(
        deployment=message.deployment,
        callable=not message.not_callable,
        closed=not message.open,
        latency_ms=message.latency_ms,
        availability=message.availability,
        in_flight=message.in_flight,
        headroom=tuple(
            Headroom(one.limit, one.total, one.remaining, one.resets_unix_s) for one in message.headroom
        ),
    )
