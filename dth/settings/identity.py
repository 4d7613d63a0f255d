"""What a job is, from its settings: its two locations, its mapping of keys, its id, and what the ledger keeps of it."""

from __future__ import annotations

import hashlib
import json

from dth.errors import SettingsError
from dth.model import KeyMapping, Location
from dth.partitions import partition_of
from dth.settings.transfer import TiB, TransferJob, settings_of
from dth.states import Side


def source_location(job: TransferJob) -> Location:
    """Where objects come from. `provider` is "" where an endpoint is given and no type: the profile table knows hosts."""
    return Location(
        side=Side.SOURCE,
        provider=_provider(job.src_type, job.src_endpoint),
        endpoint=job.src_endpoint,
        region=job.src_region,
        bucket=job.src_bucket,
        prefix=job.src_prefix,
        credentials=job.src_credentials,
        profile=job.src_profile,
        addressing=job.src_addressing,
        request_payer=job.src_request_payer,
    )


def dest_location(job: TransferJob) -> Location:
    """Where objects go. Its `prefix` is the setting's; what all mapped keys share is `mapping(job).dest_listing_prefix`."""
    return Location(
        side=Side.DESTINATION,
        provider=_provider(job.dest_type, job.dest_endpoint),
        endpoint=job.dest_endpoint,
        region=job.dest_region,
        bucket=job.dest_bucket,
        prefix=job.dest_prefix,
        credentials=job.dest_credentials,
        profile=job.dest_profile,
        addressing=job.dest_addressing,
    )


def _provider(named: str, endpoint: str) -> str:
    return named or ("" if endpoint else "Amazon_S3")


def mapping(job: TransferJob) -> KeyMapping:
    """How source keys become destination keys. A list of prefixes stands for the prefix, so none is cut off."""
    prefix = "" if job.src_prefix_list else job.src_prefix
    return KeyMapping(source_prefix=prefix, dest_prefix=job.dest_prefix, strip=job.strip_src_prefix)


def sse_header(job: TransferJob) -> str:
    """The value of `x-amz-server-side-encryption`, "" where none is sent."""
    return {"None": "", "AES256": "AES256", "AWS_KMS": "aws:kms"}[job.dest_sse]


def job_id(job: TransferJob) -> str:
    """The job's name: the one given, else 16 hex digits of a hash of both locations and the mapping.

    The same for the same places, whatever the credentials: renaming a secret or adding a region that was discovered
    before does not make another job. Without an endpoint the region's partition counts, because the same bucket name
    may exist in two of them.
    """
    if job.job_id:
        return job.job_id
    places = [
        [_store(source_location(job)), job.src_bucket, job.src_prefix],
        [_store(dest_location(job)), job.dest_bucket, job.dest_prefix],
        job.strip_src_prefix and job.src_prefix != "",  # without a prefix there is nothing to strip
    ]
    return hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16]


def _store(location: Location) -> str:
    if location.endpoint:
        return location.endpoint
    return partition_of(location.region).id if location.provider == "Amazon_S3" else location.provider


def _names(scope: str) -> set[str]:
    return {name for name, known in settings_of(TransferJob).items() if known.scope == scope}


def run_settings_json(job: TransferJob) -> str:
    """The job's settings as the ledger keeps them with a run: no secrets (a secret's name is none), nothing of the
    process. Every value is written out, so that a later version with other defaults reads the same job."""
    fields = job.model_dump(mode="json", include=_names("job"))
    fields["job_id"] = job_id(job)
    return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def from_run_settings(text: str, process: TransferJob | None = None) -> TransferJob:
    """The job of a run: job settings from the ledger, those of the process from `process` (None: defaults).

    Settings that this version does not know raise SettingsError: a newer finder asked for what this worker cannot do.
    """
    fields = json.loads(text)
    unknown = fields.keys() - _names("job")
    if unknown:
        raise SettingsError(
            f"the run was made by another version of dth: this one does not know {', '.join(sorted(unknown))}"
        )
    own = process.model_dump(include=_names("process")) if process else {}
    return TransferJob(**own, **fields)


_MAPPING = (
    "src_bucket", "src_prefix", "src_endpoint", "strip_src_prefix", "src_prefix_list", "dest_bucket", "dest_prefix", "dest_endpoint",
)  # fmt: skip


def remapped(job: TransferJob, text: str) -> list[str]:
    """Names of the settings by which the job reads from or writes to other places than the run whose settings are stored
    as `text`. Another version's settings are read as far as they go."""
    stored = json.loads(text)
    return [name for name in _MAPPING if name in stored and stored[name] != getattr(job, name)]


def on_one_machine(job: TransferJob) -> TransferJob:
    """The job as one machine does it: each object is moved by one worker, however large it is."""
    return job.model_copy(update={"giant_threshold": 50 * TiB})


def contradicted(given: TransferJob, text: str) -> list[str]:
    """Names of job settings that were set for this process and differ from those stored with the run; an empty list
    means that `given` may work on it. Settings left at their defaults contradict nothing, nor do two regions of one
    partition of AWS: whichever is asked first, S3 names the bucket's own."""
    stored = from_run_settings(text)
    explicit = given.model_fields_set & _names("job")
    return sorted(
        name for name in explicit if getattr(given, name) != getattr(stored, name) and not _found(name, given, stored)
    )


def _found(name: str, given: TransferJob, stored: TransferJob) -> bool:
    """Whether the setting is a region that S3 itself corrects."""
    side = name.removesuffix("_region")
    if side not in {"src", "dest"}:
        return False
    location = source_location if side == "src" else dest_location
    both = location(given), location(stored)
    return all(one.provider == "Amazon_S3" for one in both) and _store(both[0]) == _store(both[1])


def reached_as(stored: TransferJob, now: TransferJob) -> TransferJob:
    """The stored job with the credentials that `now` names, on each side where both mean the same bucket: those of an
    interrupted run may be gone for good."""
    access: dict[str, str] = {}
    for side, location in (("src", source_location), ("dest", dest_location)):
        then, here = location(stored), location(now)
        if (then.bucket, _store(then)) == (here.bucket, _store(here)):
            access |= {f"{side}_credentials": here.credentials, f"{side}_profile": here.profile}
    return stored.model_copy(update=access)
