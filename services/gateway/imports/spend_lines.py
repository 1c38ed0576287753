"""The lines of a file of requests, each as what it cost."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from services.gateway.imports.records import Mistake, Note, Spend

Row = TypeVar("Row")


def spends(
    rows: Iterable[tuple[int, Row]],
    file: str,
    *,
    ident: str,
    read: Callable[[Row], Spend],
    notes: Callable[[Row], Iterable[str]] = lambda _: (),
) -> Iterator[Spend | Note | Mistake]:
    """What each row cost; one that cannot be read, or is there twice, is a mistake named by its line.

    Args:
        rows: Each with the number of its line.
        file: Its name.
        ident: The field that makes a row another one.
        read: What a row cost; raises a ValueError that names the field.
        notes: What of a row has no counterpart here; raises as `read`.
    """
    seen: set[str] = set()
    for number, row in rows:
        line = f"line {number}"
        try:
            spend = read(row)
            if spend.identity in seen:
                raise ValueError(f"{ident}: is there twice; delete one of the rows")
            noted = [Note(text, line) for text in notes(row)]
        except ValueError as error:
            yield Mistake(file, line, str(error))
            continue
        seen.add(spend.identity)
        yield spend
        yield from noted
