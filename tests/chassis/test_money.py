"""Money is exact."""

from decimal import Decimal

import pytest

from services.chassis import money


def test_money_is_exact_to_the_nano_dollar() -> None:
    assert 100_000_001 == money.nano(Decimal("0.100000001"))
    assert 300_000_000 == money.nano(0.3)
    for wrong in ("-1", "0.0000000001", "nan", "inf", "9000001", "ten"):
        with pytest.raises(ValueError, match="expected US dollars"):
            money.nano(wrong)
