"""Every pixel takes its grey value from the table, with any OpenCV."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.images import tables
from chestx.images.tables import apply_table


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_stored_value_becomes_its_grey_value(
    dtype: type, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LOOKS_UP_16_BITS", quick and tables.LOOKS_UP_16_BITS)
    values = np.iinfo(dtype).max + 1
    table = np.random.default_rng(1).integers(0, 256, values, dtype=np.uint8)
    stored: np.ndarray = np.arange(values).astype(dtype).reshape(-1, 32)[::-1, ::2]
    stored.flags.writeable = False
    np.testing.assert_array_equal(apply_table(table, stored), table[stored])
