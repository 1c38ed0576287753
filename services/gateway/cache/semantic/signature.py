"""What a question is about, in 32 bytes: the signs of its vector, by which similar questions are found without NumPy.

The share of signs in which two vectors differ grows with the angle between them. That is coarse, and enough: it only
says which few of a partition's questions are worth being read; whether one of them is the same is read from its words.
"""

from collections.abc import Sequence

# Numbers of a vector.
DIMENSIONS = 256
BYTES = DIMENSIONS // 8
# Signs in which two wordings of one question differ at most: what is embedded is the same, but for capitals. Half of
# all pairs of other questions differ in 125 or more.
MOST_DIFFERENT = 64
# Of the questions that near, so many of the nearest are read: among 300 others, the right one was always one of them.
MOST_READ = 4


def of(vector: Sequence[float]) -> bytes:
    """The signature of a vector.

    Raises:
        ValueError: the vector has another number of dimensions.
    """
    if len(vector) != DIMENSIONS:
        raise ValueError(f"expected {DIMENSIONS} dimensions, got {len(vector)}")
    return sum(1 << place for place, number in enumerate(vector) if number > 0).to_bytes(BYTES)


def nearest(wanted: bytes, signatures: Sequence[bytes]) -> list[int]:
    """The places of the nearest of several signatures, the nearest first; those too far away are left out."""
    own = int.from_bytes(wanted)
    distances = [(own ^ int.from_bytes(other)).bit_count() for other in signatures]
    near = [place for place, distance in enumerate(distances) if distance <= MOST_DIFFERENT]
    return sorted(near, key=distances.__getitem__)[:MOST_READ]
