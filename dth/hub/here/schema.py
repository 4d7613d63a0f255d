"""The hub's database on this machine."""

from __future__ import annotations

from dth.database import Schema
from dth.errors import LedgerError

HUB = Schema(
    name="hub",
    application_id=0x64746862,  # "dthb"
    version=1,
    error=LedgerError,
    statements=(
        """CREATE TABLE tasks (
            id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, settings TEXT NOT NULL,
            extras TEXT NOT NULL, schedule TEXT NOT NULL, revision INTEGER NOT NULL, created_at REAL NOT NULL,
            updated_at REAL NOT NULL, stopped_at REAL, state TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL,
            next_run_at REAL, latest_run TEXT NOT NULL, failed INTEGER NOT NULL DEFAULT 0, job_id TEXT NOT NULL,
            buckets TEXT NOT NULL, search TEXT NOT NULL,
            pid INTEGER NOT NULL DEFAULT 0, outside INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX tasks_created ON tasks (created_at)",
        "CREATE INDEX tasks_updated ON tasks (updated_at)",
        "CREATE INDEX tasks_name ON tasks (name)",
        "CREATE INDEX tasks_state ON tasks (state)",
        "CREATE INDEX tasks_failed ON tasks (failed)",
        "CREATE INDEX tasks_job ON tasks (job_id)",
        "CREATE INDEX tasks_due ON tasks (next_run_at) WHERE next_run_at IS NOT NULL",
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, task_id TEXT NOT NULL, kind TEXT NOT NULL, wanted TEXT NOT NULL, commands TEXT NOT NULL,
            step INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0, asked_at REAL,
            started_at REAL NOT NULL, ended_at REAL, scheduled_for REAL, exit_code INTEGER, cause TEXT NOT NULL DEFAULT '',
            detail TEXT NOT NULL DEFAULT '', position INTEGER NOT NULL DEFAULT 0, seen_at REAL NOT NULL,
            figures TEXT NOT NULL
        ) STRICT""",
        "CREATE UNIQUE INDEX one_run_at_a_time ON runs (task_id) WHERE ended_at IS NULL",
        "CREATE UNIQUE INDEX one_run_a_time_of_the_schedule ON runs (task_id, scheduled_for) WHERE scheduled_for IS NOT NULL",
        "CREATE INDEX runs_of_task ON runs (task_id, started_at)",
        """CREATE TABLE answers (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, made_at REAL NOT NULL, position INTEGER NOT NULL,
            fields TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE series (
            task_id TEXT NOT NULL, name TEXT NOT NULL, width INTEGER NOT NULL, t INTEGER NOT NULL, v REAL NOT NULL,
            n INTEGER NOT NULL, PRIMARY KEY (task_id, name, width, t)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE sessions (hash TEXT PRIMARY KEY, who TEXT NOT NULL, until REAL NOT NULL) STRICT",
        "CREATE TABLE tokens (hash TEXT PRIMARY KEY, until REAL NOT NULL) STRICT",
        """CREATE TABLE revisions (
            task_id TEXT NOT NULL, revision INTEGER NOT NULL, at REAL NOT NULL, row TEXT NOT NULL,
            PRIMARY KEY (task_id, revision)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
)
