"""`dth verify SOURCE DEST`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dth.cli.options import (
    LOCATION,
    METRICS,
    AsJson,
    Common,
    JobFile,
    OnFailure,
    Verbose,
    named_sides,
    with_settings,
)
from dth.cli.run import Verb, execute, load

_NOT_ASKED = (
    "dest_storage_class", "dest_acl", "dest_sse", "dest_sse_kms_key_id", "compare", "skip_compare", "include_metadata", "tags",
    "verify", "no_clobber", "multipart_threshold", "part_size", "giant_threshold", "finder_number", "finder_depth", "high_water",
    "pack_objects", "pack_bytes", "message_bytes", "processes", "lease_seconds", "lease_cap_seconds", "grace_seconds",
    "stall_seconds", "max_attempts", "receive_limit", "overlap", "delete", "max_delete", "delete_from_empty", "delete_to", "from_file", "src_prefix_list",
    "src_prefix_list_bucket", "event_queue", "allow", "event_silence_seconds", "plan_rate", "max_cost", *METRICS,
)  # fmt: skip
"""Settings of what verify does not do: writing, and sharing work."""

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="s3://bucket or s3://bucket/prefix.", show_default=False)]
Dest = Annotated[str, typer.Argument(metavar="DEST", help="s3://bucket or s3://bucket/prefix.", show_default=False)]
Download = Annotated[bool, typer.Option("--download", help="Read both sides and compare every byte.")]
Metadata = Annotated[bool, typer.Option("--metadata", help="Compare content headers and user metadata too.")]
Tags = Annotated[bool, typer.Option("--tags", help="Compare object tags too; a request more for each side.")]


@with_settings(without=(*LOCATION, *_NOT_ASKED))
def verify(
    source: Source = "",
    dest: Dest = "",
    *,
    download: Download = False,
    metadata: Metadata = False,
    tags: Tags = False,
    on_failure: OnFailure = "",
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Compare two locations; write to neither.

    It compares sizes and ETags, or checksums if both stores keep them. An object whose sizes agree and whose ETags
    cannot be compared counts as not verifiable; `--download` reads it. Each difference is shown and written to the
    report, and makes the exit code 3. With `--report-level all` the report holds equal objects too.

    Example: `dth verify s3://photos/2026 s3://backup/photos/2026 --download --report differences.jsonl`
    """
    common = Common(job, json, verbose, on_failure=on_failure)

    def make() -> Verb:
        places, origins = named_sides(common, source, dest)
        settings = load(common, {**flags, **places}, origins=origins)
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        return lambda emit, stop: verbs.verify(settings, emit, stop, download=download, metadata=metadata, tags=tags)

    execute(common, make)
