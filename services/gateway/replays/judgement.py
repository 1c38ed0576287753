"""Classifications of the past by another version of the classifier, as far as that was asked then."""

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.learning import level_of


def judge(
    decision: selector_pb2.PastDecision, version: str, shadow: classifier_pb2.Classification | None
) -> bool:
    """Give a decision the classification of a version; whether that is known.

    Where no version judged the request (the classifier was down or switched off, or there was nothing to read), this
    one would not have done so either, and the decision stays as it is.

    Args:
        decision: The decision of then; changed in place.
        version: The version of the classifier.
        shadow: What a version that was not served made of the request; None where none was asked.
    """
    was = decision.request.classification
    if was.version in ("", version):
        return True
    if shadow is None or shadow.version != version:
        return False
    if (shadow.category, level_of(shadow.strong_win_rate)) != (was.category, level_of(was.strong_win_rate)):
        # What outcomes had taught is known for the category and level of then alone.
        decision.circumstances.ClearField("learning")
    was.CopyFrom(shadow)
    # How the request was divided then follows from another score.
    decision.ClearField("tier")
    return True
