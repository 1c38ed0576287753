"""What an import read, and what of it is new: for the table that people look at before they do it."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from services.gateway.imports.records import Key, Mistake, Note, Organization, Record, Spend, User

# Mistakes that are shown, and subjects of a note; all are counted.
SHOWN = 20
SUBJECTS = 3
KINDS = {Organization: "organizations", User: "users", Key: "keys", Spend: "requests"}


@dataclass
class Month:
    """What was spent in a month, exactly as the source has it."""

    requests: int = 0
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass
class Notes:
    """How many rows a note is about, and the first of them."""

    count: int = 0
    subjects: list[str] = field(default_factory=list)


@dataclass
class Summary:
    """Counts and sums."""

    read: Counter[str] = field(default_factory=Counter)
    months: dict[str, Month] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)
    left_behind: Counter[str] = field(default_factory=Counter)
    mistakes: list[Mistake] = field(default_factory=list)
    # What was not there yet, and what of the money.
    new: Counter[str] = field(default_factory=Counter)
    new_nano_usd: int = 0

    def count(self, record: Record) -> None:
        """Take one more record into account."""
        match record:
            case Mistake():
                self.left_behind[record.table] += 1
                if len(self.mistakes) < SHOWN:
                    self.mistakes.append(record)
            case Note():
                note = self.notes.setdefault(record.text, Notes())
                note.count += 1
                if len(note.subjects) < SUBJECTS:
                    note.subjects.append(record.subject)
            case _:
                self.read[KINDS[type(record)]] += 1
        if isinstance(record, Spend):
            month = self.months.setdefault(f"{record.at:%Y-%m}", Month())
            month.requests += 1
            month.tokens += record.tokens.get("prompt_tokens", 0) + record.tokens.get("completion_tokens", 0)
            month.cost_usd += record.cost_usd
