"""`dth find`."""

from __future__ import annotations

from typing import Any

from dth.cli.options import AsJson, Common, DryRun, Explain, JobFile, OnFailure, Verbose, with_settings
from dth.cli.run import Verb, execute, load


@with_settings()
def find(
    *,
    dry_run: DryRun = False,
    explain: Explain = None,
    on_failure: OnFailure = "",
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """List both sides, queue what differs, and end.

    This is the first half of a sync: `dth work` copies what it queues. While the job's last run is still under way, it ends
    at once, with exit code 0. The exit code tells how the listing ended; of objects that fail, `dth work` and `dth status`
    tell.

    Example: `dth find --src-bucket photos --dest-bucket backup`
    """
    common = Common(job, json, verbose, on_failure=on_failure)

    def make() -> Verb:
        settings = load(common, flags)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        if explain is not None:
            return lambda emit, stop: verbs.explain_key(settings, explain, emit, stop)
        return lambda emit, stop: verbs.find(settings, emit, stop, dry_run=dry_run)

    execute(common, make)
