from pathlib import Path

import pytest

from tests.executor import mixed
from tests.simulator import Simulator


@pytest.mark.no_cover
@pytest.mark.parametrize(("engine", "requests"), [("fast", 250), ("general", 40)])
async def test_after_mixed_faults_and_disconnects_the_records_agree_with_the_provider(
    engine: str, requests: int, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    records = await mixed.run(requests, simulator, valkey, tmp_path, engine=engine)

    records.check()
    assert records.seen > requests * 0.9
    assert len(records.kinds) == 3
