"""From the cost of one request to what many need."""

from tests.load import paper
from tests.load.clients import Answered

COST = paper.Cost(
    cpu_ms={"gateway": 3.0, "executor": 6.0, "valkey": 0.3, "postgres": 9.0},
    redis_commands=10.0,
    commits=0.1,
    rows=3.0,
    log_bytes=2048.0,
)


def test_many_requests_need_their_cost_at_six_tenths_of_each_core() -> None:
    found = "\n".join(paper.of_many(COST))

    # PostgreSQL has many processes, so it is not what fills one core.
    assert "one executor, at 167 requests a second" in found
    assert "| executor | 10 | 100 | 1,000 |" in found
    assert "| shards of Valkey | 1 | 5 | 50 |" in found
    assert "| Redis commands a second | 10,000 | 100,000 | 1,000,000 |" in found
    assert "| PostgreSQL rows a second | 3,000 | 30,000 | 300,000 |" in found


def test_the_cost_of_a_request_is_listed_from_the_most_to_the_least() -> None:
    rows = [line.split(" | ")[0] for line in paper.of_a_request(COST)[2:7]]

    assert ["| postgres", "| executor", "| gateway", "| valkey", "| all"] == rows


def test_the_curve_says_what_was_not_answered_in_full() -> None:
    curve = {"classifier": {1: Answered(10, 200), 4: Answered(10, 700, degraded=50)}}

    assert "| classifier | 20.0 | 70.0 (5.0, 0.0) | 3.50 |" in paper.of_replicas(curve, 0.1)
