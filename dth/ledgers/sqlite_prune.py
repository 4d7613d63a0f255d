"""What the embedded ledger forgets: old runs that nothing can ask for any more, with their outcomes and counters.

All of a run goes, or nothing: an outcome that is gone while its run is there would be counted a second time by whoever
finds its message among the dead letters. The file keeps its size; what comes later uses the room.
"""

from __future__ import annotations

import sqlite3

KEPT_RUNS = 20  # of each job, whatever their age: the newest says where the job last read and wrote
COUNTED_DAYS = 30
ABANDONED_DAYS = 90  # messages of such a run may wait for workers that long
_ROWS = 2_000  # outcomes in one transaction, so that no other process waits for long
_DAY = 86_400

_OLDEST = """
    SELECT run_id FROM runs LEFT JOIN counters USING (run_id)
    WHERE job_id = :job_id AND state IN ('sealed', 'abandoned')
      AND run_id NOT IN (SELECT run_id FROM uploads)  -- whoever ends those needs its settings
      AND started_at < CASE state WHEN 'sealed' THEN :counted_before ELSE :abandoned_before END
      AND sequence NOT IN (
          SELECT sequence FROM runs WHERE job_id = :job_id ORDER BY started_at DESC, sequence DESC LIMIT :kept)
    GROUP BY run_id
    HAVING state = 'abandoned' OR coalesce(sum(done + skipped + failed), 0) >= found
    ORDER BY started_at LIMIT 1
"""
# Ids of messages begin with their run's, then `-` or `/`: the rows lie together.
_FORGET = """
    DELETE FROM outcomes WHERE message_id IN (
        SELECT message_id FROM outcomes
        WHERE message_id >= :run_id || '-' AND message_id < :run_id || '0' AND run_id = :run_id LIMIT :rows)
"""


def prune_some(connection: sqlite3.Connection, job_id: str, now: float) -> bool:
    """Forget a part of the job's oldest run that may go; False where there is none."""
    values = {
        "job_id": job_id,
        "kept": KEPT_RUNS,
        "counted_before": now - COUNTED_DAYS * _DAY,
        "abandoned_before": now - ABANDONED_DAYS * _DAY,
    }
    oldest = connection.execute(_OLDEST, values).fetchone()
    if oldest is None:
        return False
    run = {"run_id": oldest[0], "rows": _ROWS}
    if connection.execute(_FORGET, run).rowcount < _ROWS:
        for table in ("counters", "run_keys", "tallies", "failures", "processes"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = :run_id", run)  # noqa: S608 - constants
        connection.execute("DELETE FROM runs WHERE run_id = :run_id", run)
    return True
