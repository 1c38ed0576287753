"""Why a request was decided as it was, for the pages that show a decision."""

from typing import Any

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.gateway.dashboard import charts, formats
from services.gateway.pipeline import render


def shown(judged: classifier_pb2.Classification, chosen: selector_pb2.Selection) -> dict[str, Any]:
    """The factors, and every candidate with the parts of its score, each with its chart."""
    factors = render.classification(judged)["factors"]
    selection = render.selection(chosen)
    most = max((abs(one["contribution"]) for one in factors), default=0.0)
    return {
        "factors": [
            {
                **one,
                "chart": charts.signed(
                    one["contribution"], most, label=f"{one['contribution']:+.2f} log-odds"
                ),
            }
            for one in factors
        ],
        "selection": selection,
        "parts": list(selection["candidates"][0]["parts"]) if selection["candidates"] else [],
        "candidates": [
            {
                **one,
                "chart": charts.stacked(
                    [
                        (f"{formats.words(name)}: {part['value']:.2f} of {part['weight']:.2f}", product)
                        for name, part in one["parts"].items()
                        if (product := part["value"] * part["weight"]) >= 0
                    ],
                    1.0,
                    label=f"score {one['score']:.3f}",
                ),
            }
            for one in selection["candidates"]
        ],
    }
