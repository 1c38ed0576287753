"""What the ledger derives from its settings."""

import pytest

from services.chassis.config import from_environ
from services.gateway.ledger.settings import Settings

NEEDED = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h:6379"}


@pytest.mark.parametrize(
    ("learning", "retention", "days"), [(90, 0, 90), (0, 0, 0), (0, 90, 90), (30, 20, 20)]
)
def test_what_is_learnt_from_is_kept_no_longer_than_its_usage(
    learning: int, retention: int, days: int
) -> None:
    given = {"LUMNI_LEARNING_DAYS": str(learning), "LUMNI_RETENTION_DAYS": str(retention)}

    assert days == from_environ(Settings, NEEDED | given).learnt_days
