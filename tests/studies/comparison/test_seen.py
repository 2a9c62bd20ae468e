"""Numbers in messages: those in plain are found, whatever their format."""

import numpy as np
import pytest

from unlearn.privacy.federated.messages import pack
from unlearn.studies.comparison.seen import rows_seen

ROWS = np.arange(200, 320, dtype=np.int64).reshape(3, 40)


@pytest.mark.parametrize("kind", ["<u2", "<i4", "<i8", "<f4", "<f8"])
def test_rows_in_plain_are_found(kind: str) -> None:
    assert rows_seen([pack({"own": ROWS[0].astype(kind)}), b"nothing"], ROWS) == pytest.approx(1 / 3)


def test_what_is_masked_is_not_found() -> None:
    masked = (ROWS + np.random.default_rng(0).integers(2**40, 2**50, ROWS.shape)).tobytes()
    assert rows_seen([masked], ROWS) == 0


def test_a_row_of_one_number_tells_nothing_and_is_not_sought() -> None:
    assert rows_seen([np.zeros(99).tobytes()], np.zeros((1, 9))) == 0
