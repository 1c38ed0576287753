"""Partitions of the streams that the ledger reads."""

import pytest

from services.chassis import redis_keys, stream_partitions


def test_every_process_appends_to_one_of_those_that_ledgers_read() -> None:
    read = stream_partitions.all_of(redis_keys.USAGE_STREAM, 4)
    processes = [f"host-{number}" for number in range(200)]

    chosen = [stream_partitions.own(redis_keys.USAGE_STREAM, 4, process) for process in processes]

    assert set(read) == set(chosen)
    assert chosen == [stream_partitions.own(redis_keys.USAGE_STREAM, 4, process) for process in processes]


def test_a_single_partition_is_the_stream_as_it_ever_was() -> None:
    assert [redis_keys.USAGE_STREAM] == stream_partitions.all_of(redis_keys.USAGE_STREAM, 1)


@pytest.mark.parametrize("count", [0, -1, stream_partitions.MOST + 1])
def test_a_number_out_of_range_names_the_setting(count: int) -> None:
    with pytest.raises(ValueError, match="LUMNI_STREAM_PARTITIONS: expected a number from 1 to 64"):
        stream_partitions.check(count)
