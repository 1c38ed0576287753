"""Parsers whose CPU time grows faster than what they read: `make fuzz`, or `python -m tests.fuzz.cpu_time`.

The tests count the lines of Python that a parser runs (`tests/fuzz/linear.py`); what one call into C does, only time
shows. Reading twice as much takes about twice as long; what is quadratic takes four times as long. Two runs of one
process are compared, in CPU time of the thread, so that neither the machine's speed nor its other work counts much.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.linear import REFUSED, TAILS, UNITS, Work, parsers, repeated

# A text of so many characters is long enough to tell a square from a line; four times as long is compared with it.
SHORT = 2048
# Growth for four times as much from which a text is looked at closely.
SUSPECT = 8.0
# A text is lengthened until it takes so long to read, or is so long that there is nothing to fear.
MEASURABLE_S, LONGEST = 0.005, 2**20


def too_slow(work: Work) -> str:
    """A text whose reading grows faster than it does; empty where there is none."""
    return next(
        (
            f"{unit[:20]!r} and {tail!r}"
            for unit in UNITS
            for tail in TAILS
            if _is_suspect(work, unit, tail) and _growth(work, unit, tail) >= REFUSED
        ),
        "",
    )


def _is_suspect(work: Work, unit: str, tail: str) -> bool:
    short, long = (repeated(unit, tail, size) for size in (SHORT, 4 * SHORT))
    return _seconds(work, long) >= SUSPECT * _seconds(work, short)


def _growth(work: Work, unit: str, tail: str) -> float:
    """The median of five comparisons of a text with one twice as long."""
    size = SHORT
    while _seconds(work, repeated(unit, tail, size)) < MEASURABLE_S:
        size *= 2
        if size >= LONGEST:
            return 1.0
    ratios = []
    for _ in range(5):
        shorter = _seconds(work, repeated(unit, tail, size))
        ratios.append(_seconds(work, repeated(unit, tail, 2 * size)) / shorter)
    return statistics.median(ratios)


def _seconds(work: Work, text: str) -> float:
    began = time.thread_time()
    work(text)
    return time.thread_time() - began


def main() -> int:
    """Print what is too slow; 1 when something is."""
    with tempfile.TemporaryDirectory(prefix="lumni-fuzz-") as folder:
        slow = {name: text for name, work in parsers(Path(folder)).items() if (text := too_slow(work))}
    print("\n".join(f"{name}: slow on {text}" for name, text in slow.items()) or "every parser is linear")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
