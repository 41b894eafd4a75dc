"""The short form of every row of `make faults`: real processes, real faults, nothing lost."""

import pytest

from faults.harness import run_row
from faults.rows import ROWS


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.number} {row.name}") for row in ROWS])
def test_what_was_acknowledged_survives(row, tmp_path):
    result = run_row(row, tmp_path, full=False)
    if result.left_out:
        pytest.skip(result.left_out)
    assert result.run.failures == []
    assert result.run.lost == 0
    assert result.run.survived == result.run.injected > 0
