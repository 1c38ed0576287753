"""Which variant of an experiment a request was assigned."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assignment:
    """A request's variant.

    Attributes:
        experiment_id: The experiment's id.
        experiment: Its name.
        variant: The variant's name.
        unit: Who stays with the variant: a keyed hash of the user, key or conversation; None where nothing is measured,
            as the variant was promoted.

    """

    experiment_id: str
    experiment: str
    variant: str
    unit: int | None
