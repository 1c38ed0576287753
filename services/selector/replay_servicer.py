"""Replays on the wire: the configuration of a request read, and its decisions selected once more."""

import threading
import time

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2 as pb

from services.chassis import errors, selection_messages, status
from services.chassis.config import Mistakes
from services.selector import message_bounds, past_messages
from services.selector.configuration import FILES, PRICES, Configuration
from services.selector.models.deployment_table import DeploymentTable
from services.selector.ranking.replay import Replay
from services.selector.ranking.select import Selection, Selector

# The fields of a configuration by the files that they are the texts of.
FIELDS = {FILES[0]: "litellm_yaml", FILES[1]: "lumni_yaml", PRICES: "prices_yaml"}
# Some seconds of work, and some 20 MiB.
MOST_DECISIONS = 20_000
# After so many seconds of work the thread gives way for as long: callers' selections share the interpreter with it.
TURN_S = 0.002


def replayed(
    configuration: Configuration, request: pb.ReplayRequest, given_up: threading.Event
) -> pb.ReplayResponse:
    """Select once more for each decision, until it is given up; each has its own success or failure.

    Raises:
        Invalid: a configuration with mistakes, or more decisions than are replayed at once.
    """
    if len(request.decisions) > MOST_DECISIONS:
        raise errors.Invalid(f"decisions: at most {MOST_DECISIONS} at once", param="decisions")
    selector = _selector(configuration, request)
    replay = Replay(selector)
    response = pb.ReplayResponse()
    others_at = time.monotonic() + TURN_S
    for decision in request.decisions:
        if time.monotonic() > others_at:
            if given_up.wait(TURN_S):
                break
            others_at = time.monotonic() + TURN_S
        try:
            message_bounds.check_past(decision)
            powerful, selection = replay.select(past_messages.past(decision))
        except errors.Fault as fault:
            response.results.add(error=status.to_failure(fault))
        else:
            _pack(response.results.add().selection, selector.table, selection, powerful=powerful)
    return response


def _selector(configuration: Configuration, request: pb.ReplayRequest) -> Selector:
    if not request.HasField("configuration"):
        # Not the one that serves callers: what a selector remembers of a snapshot is one thread's.
        serving = configuration.selector
        return Selector(serving.table, serving.catalog)
    given = request.configuration
    texts = {FILES[0]: given.litellm_yaml, FILES[1]: given.lumni_yaml, PRICES: given.prices_yaml}
    try:
        return configuration.other(texts)
    except Mistakes as mistakes:
        # Each file is read to its end before the next one, and its name is what a line begins with.
        field = FIELDS.get(mistakes.lines[0].partition(":")[0], "configuration")
        raise errors.Invalid(f"{field}: {mistakes}", param=field) from mistakes


def _pack(packed: pb.Selection, table: DeploymentTable, selection: Selection, *, powerful: bool) -> None:
    packed.tier = classifier_pb2.TIER_POWERFUL if powerful else classifier_pb2.TIER_FAST
    packed.strategy = selection.strategy
    for candidate in selection.candidates:
        deployment = table.deployments[candidate.index]
        packed.candidates.add(
            deployment=deployment.id,
            model=deployment.model,
            provider=deployment.provider,
            quality=selection.ranking.quality[candidate.index],
            only_on=selection_messages.ONLY_ON[candidate.only_on],
        )
