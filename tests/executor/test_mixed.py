from pathlib import Path

import pytest

from tests.executor import mixed
from tests.simulator import Simulator


@pytest.mark.parametrize(("engine", "requests"), [("fast", 250), ("general", 40)])
async def test_after_mixed_faults_and_hang_ups_the_books_agree_with_the_provider(
    engine: str, requests: int, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    books = await mixed.run(requests, simulator, valkey, tmp_path, engine=engine)

    books.check()
    assert books.seen > requests * 0.9
    assert len(books.kinds) == 3
