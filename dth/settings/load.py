"""From flags, environment and a job file to a job: flags beat environment beats file beats default.

Nothing is ignored: an unknown name, a value out of range, two spellings of one setting or a contradiction is a
SettingsError that names the setting, its value, where it came from and what is allowed; all problems at once, a line
each.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dth.errors import SettingsError
from dth.settings.ambient import ambient_places
from dth.settings.check import problems
from dth.settings.fields import Setting
from dth.settings.image import ImageJob, image_problems
from dth.settings.jobfile import MEANINGLESS, ORIGINAL, read_job_file
from dth.settings.transfer import JobBase, TransferJob, default_state, settings_of
from dth.settings.urls import redacted
from dth.values import value

_PREFIX = "DTH_"
BUCKETS = ("src_bucket", "dest_bucket")
"""What a job cannot be without."""
_MODELS: tuple[type[JobBase], ...] = (TransferJob, ImageJob)

J = TypeVar("J", bound=JobBase)


@value
class _Given:
    value: Any
    origin: str


def load_settings(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    job_file: Path | None,
    *,
    origins: Mapping[str, str] | None = None,
    locations_required: bool = True,
    required: Sequence[str] = BUCKETS,
    notes: list[str] | None = None,
) -> TransferJob:
    """The job. `flags` maps setting names to raw values (None: not given); `origins` renames where some of them came
    from (`SOURCE` instead of `--src-bucket`). Without `locations_required` a job id may stand for both buckets. Endpoints
    and regions that the job leaves open are AWS's environment's (see `ambient`). `notes` gets a sentence about each of
    these, and about what in a job file means nothing."""
    job, given = _load(TransferJob, flags, environ, job_file, origins, notes)
    places = ambient_places(job, environ)
    job = job.model_copy(update={name: place.value for name, place in places.items()})
    given |= {name: place.origin for name, place in places.items()}
    if notes is not None:
        notes += [f"{name} = {place.value}, from {place.origin}" for name, place in places.items()]
    found = problems(job, given)
    if not (job.job_id and not locations_required):
        known = settings_of(TransferJob)
        found += [
            f"{name} is required: {known[name].flag}, {known[name].env}, or {name} in a job file"
            for name in required
            if not getattr(job, name)
        ]
    if found:
        raise SettingsError("\n".join(found))
    return job


def load_image_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], job_file: Path | None, *, notes: list[str] | None = None
) -> ImageJob:
    """The image job, by the same rules."""
    job, given = _load(ImageJob, flags, environ, job_file, None, notes)
    if found := image_problems(job, given):
        raise SettingsError("\n".join(found))
    return job


def _load(
    model: type[J],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    job_file: Path | None,
    origins: Mapping[str, str] | None,
    notes: list[str] | None,
) -> tuple[J, dict[str, str]]:
    """A validated job of the model, and where each of its settings came from."""
    notes = [] if notes is None else notes
    known = settings_of(model)
    if job_file is None and environ.get(_PREFIX + "JOB"):
        job_file = Path(environ[_PREFIX + "JOB"])
    given = _from_file(job_file, known, notes) if job_file else {}
    given |= _from_environment(environ, known)
    for name, said in flags.items():
        if said is not None:
            given[name] = _Given(said, (origins or {}).get(name) or known[name].flag)
    return _validated(model, given, known, environ), {name: one.origin for name, one in given.items()}


def _from_environment(environ: Mapping[str, str], known: Mapping[str, Setting]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for variable, said in environ.items():
        if not variable.startswith(_PREFIX) or variable == _PREFIX + "JOB":
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name not in known:
            if any(name in settings_of(model) for model in _MODELS):
                continue  # one environment serves all commands
            raise SettingsError(f"the environment variable {variable} is no setting{_closest(name, known, upper=True)}")
        if _meant(said, known[name]):
            given[name] = _Given(said, variable)
    return given


def _from_file(path: Path, known: Mapping[str, Setting], notes: list[str]) -> dict[str, _Given]:
    by_guide = {written: name for written, name in ORIGINAL.items() if name in known}
    by_guide |= {setting.guide: name for name, setting in known.items() if setting.guide}
    given: dict[str, _Given] = {}
    for written, said in read_job_file(path).items():
        if written in MEANINGLESS:
            if said != "":
                notes.append(f"{written} in {path} means nothing here: {MEANINGLESS[written]}")
            continue
        name = by_guide.get(written, written)
        if name not in known:
            raise SettingsError(f"{written} in {path} is no setting{_closest(written, {**known, **by_guide})}")
        if name in given:
            raise SettingsError(f"{path} sets {name} twice: {given[name].origin}, and {written}")
        if _meant(said, known[name]):
            given[name] = _Given(said, f"{written} in {path}")
    return given


def _meant(said: object, setting: Setting) -> bool:
    """False for an empty text where only something else makes sense: parameter files and compose files write such."""
    return said != "" or setting.kind == "text" or "" in setting.choices


def _closest(name: str, names: Mapping[str, object], *, upper: bool = False) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"; did you mean {_PREFIX + close[0].upper() if upper else close[0]}?" if close else ""


def _validated(
    model: type[J], given: Mapping[str, _Given], known: Mapping[str, Setting], environ: Mapping[str, str]
) -> J:
    wrong = [
        _refused(known[name], one)
        for name, one in given.items()
        if isinstance(one.value, bool) and known[name].kind != "flag"
    ]
    if wrong:  # pydantic would read true as 1
        raise SettingsError("\n".join(wrong))
    values = {"state": default_state(environ), **{name: one.value for name, one in given.items()}}
    try:
        return model(**values)
    except ValidationError as exc:
        lines: dict[str, str] = {}
        for error in exc.errors(include_url=False, include_input=False):
            name = str(error["loc"][0])
            reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else ""
            lines[name] = _refused(known[name], given[name], reason)
        raise SettingsError("\n".join(lines.values())) from None


def _refused(setting: Setting, one: _Given, reason: str = "") -> str:
    must = setting.allowed if setting.kind != "text" or setting.rule or not reason else reason
    shown = "..." if setting.secret else redacted(str(one.value))
    return f"{setting.name} = {shown!r} (from {one.origin}) is not allowed: {must}"
