"""The figures of a run over time, as a chart asks for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dth.database import Database
from dth.hub.here.rates import WIDTHS, SqliteSamples
from dth.hub.here.schema import HUB
from dth.hub.states import SeriesName


@pytest.mark.parametrize("ago", [60, 900, 86_400, 40 * 86_400])
async def test_a_chart_of_a_run_that_is_over_shows_the_run_and_ends_with_it(tmp_path: Path, ago: int) -> None:
    end = int(time.time() - ago) // 5 * 5
    times = list(range(end - 30, end, 5))
    rows = [("task", "WAITING", 5, t, 7.0, 1) for t in times]
    rows += [("task", "WAITING", width, end // width * width, 7.0, 1) for width in WIDTHS[1:]]
    database = await Database.open(tmp_path / "hub.db", HUB)
    try:
        insert = "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)"
        await database.write(lambda db: db.executemany(insert, rows), durable=False)
        (drawn,) = await SqliteSamples(database).series("task", [SeriesName.WAITING], None, None, 120)
    finally:
        await database.close()
    assert (list(drawn.t), list(drawn.v)) == (times, [7.0] * 6)
