"""How long a piece of sound is, by its own header."""

import math
from io import BytesIO

from tinytag import TinyTag

# The lowest rate of the codec that browsers record with, Opus, in bits a second: sound of a container that is not read
# here, such as WebM, is taken to be no longer than this allows.
LOWEST_RATE = 6000
# Longer sound is of a broken header: a day.
LONGEST_MS = 86_400_000


def duration_ms(content: bytes) -> int | None:
    """How long it says that it is, in milliseconds and rounded up; None where that cannot be read."""
    try:
        # By its content alone: names lie.
        found = TinyTag.get(file_obj=BytesIO(content), tags=False).duration
    except Exception:  # noqa: BLE001  (it raises all sorts of things at what is no sound)
        return None
    if found is None or not math.isfinite(found) or not 0 < found * 1000 <= LONGEST_MS:
        return None
    return math.ceil(found * 1000)


def bound_ms(content: bytes) -> int:
    """How long it is taken to be where money is reserved for it, in milliseconds: whole seconds, as they are billed."""
    declared = duration_ms(content)
    if declared is None:
        declared = min(LONGEST_MS, len(content) * 8000 // LOWEST_RATE)
    return math.ceil(max(1, declared) / 1000) * 1000
