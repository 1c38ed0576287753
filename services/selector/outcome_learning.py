"""What a selection uses of outcomes, and what of it is recorded: between the contract and the cores."""

from lumni.selector.v1 import selector_pb2 as pb

from services.chassis import selection_messages
from services.chassis.candidates import UNPINNED
from services.chassis.learning import Mode, level_of
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.models.deployment_table import DeploymentTable
from services.selector.past_messages import MOST_STATES
from services.selector.ranking.exploration import Choice, Learned
from services.selector.ranking.select import Selection, Task


class OutcomeLearning:
    """The evidence and the bounds of this replica.

    Args:
        evidence: What outcomes have taught.
        bounds: What may still be explored.

    """

    def __init__(self, evidence: LearnedEvidence, bounds: ExplorationBounds) -> None:
        self._evidence = evidence
        self._bounds = bounds

    def learned(
        self, request: pb.SelectRequest, table: DeploymentTable, task: Task, now_unix_s: float
    ) -> Learned | None:
        """What a selection may use; None where nothing is learnt.

        That is so for a request that pins a model or that nobody judged, and for long contexts, which other benchmarks
        decide.
        """
        options, judged, policy = table.options.learning, request.classification, request.policy
        if (
            options.mode is Mode.OFF
            or request.model not in UNPINNED
            or task.long_context
            or not judged.version
        ):
            return None
        level = level_of(judged.strong_win_rate)
        on, strategy = options.mode is Mode.ON, policy.strategy or table.options.default_strategy
        share = 0.0
        # Free quotas have an order of their own, variants of an experiment are compared as they are, and nothing is
        # learnt from a request that only asks what would be selected.
        explores = strategy != "free_first" and not request.context.HasField("assignment")
        if on and explores and not selection_messages.what_if(policy):
            wanted = policy.exploration_share if policy.HasField("exploration_share") else options.share
            share = self._bounds.share(request.context.plan, wanted)
        return Learned(
            by=self._evidence.ranking(table, task.category, level, multilingual=task.multilingual),
            level=level,
            acts=on and self._evidence.acts(task.category),
            share=share,
            left_nano_usd=self._bounds.left_nano_usd(now_unix_s),
        )

    def record(
        self,
        into: pb.Circumstances,
        table: DeploymentTable,
        learned: Learned,
        selection: Selection,
        plan: str,
    ) -> None:
        """Count what was explored, and pack what outcomes can be learnt from."""
        learning = selection.learning
        if learning is None:
            return
        if learning.explored:
            self._bounds.spend(plan, learning.extra_nano_usd)
        packed = into.learning
        packed.level = learning.level
        for message, choice in (
            (packed.chosen, learning.chosen),
            (packed.current, learning.current),
            (packed.learned, learning.learned),
        ):
            _pack(message, table, choice)
        if learning.explored:
            packed.explored = table.deployments[learning.chosen.index].id
        if learned.acts:
            for deployment, quality in zip(
                table.deployments, learned.by.ranking.quality.tolist(), strict=True
            ):
                if len(packed.qualities) >= MOST_STATES:
                    into.incomplete = True
                    break
                packed.qualities[deployment.model] = quality


def _pack(message: pb.LearningChoice, table: DeploymentTable, choice: Choice) -> None:
    message.model = table.deployments[choice.index].model
    message.probability, message.quality = choice.probability, choice.quality
