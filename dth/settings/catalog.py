"""The catalogue of settings: what `dth settings` prints, what the hub's forms show, and what `docs/settings.md` is made of.

It says nothing of its own about a setting. Everything comes from where settings are declared (`setting` in `fields`); which
ones a short form shows is the one thing that stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dth.settings.fields import PANELS, Setting
from dth.settings.image import IMAGE_NOT_YET, ImageJob
from dth.settings.transfer import NOT_YET, JobBase, TransferJob, settings_of
from dth.settings.units import format_size

MODELS: Mapping[str, tuple[type[JobBase], Mapping[str, str]]] = {
    "objects": (TransferJob, NOT_YET),
    "images": (ImageJob, IMAGE_NOT_YET),
}
"""The kinds of job: what declares their settings, and which of these mean nothing to them."""

BASIC = frozenset({
    "src_bucket", "src_prefix", "src_type", "src_endpoint", "src_region", "src_credentials", "src_profile", "dest_bucket",
    "dest_prefix", "dest_type", "dest_endpoint", "dest_region", "dest_credentials", "dest_profile", "strip_src_prefix",
    "include", "exclude", "delete", "max_delete", "include_metadata", "verify", "dest_storage_class", "bandwidth",
    "source_type", "src_registry", "src_account_id", "dest_registry", "dest_account_id", "dest_repository_prefix",
    "src_list", "src_image_list", "include_untagged",
})  # fmt: skip
"""What a short form shows; everything else is advanced."""

_UNITS = {"size": "bytes"}
_UNITS_BY_ENDING = {"_seconds": "seconds", "_days": "days", "_cost": "US dollars"}
_PER_SECOND = frozenset({"bandwidth", "plan_rate"})
_NAMES = {"_credentials": "credential", "_bucket": "bucket", "_region": "region"}
_DEFAULT_STATE = "$XDG_STATE_HOME/dth, or ~/.local/state/dth"


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as forms and documentation have it.

    `jobs` names the kinds of job that have it (`objects`, `images`); the same name may stand for something else in the
    other kind, and is then an entry of its own. `kind` is that of `Setting`, or, of texts that name something,
    `credential`, `bucket` or `region`. `low` and `high` are inclusive, None where there is no bound; `unit` is `bytes`,
    `bytes/s`, `seconds`, `days` or "". `default` is the text that a job file would hold (of `state`: words), None for
    nothing. `scope` says whether a run keeps the value (`job`) or each process has its own (`process`). `allowed` says in
    words what it takes.
    """

    name: str
    jobs: tuple[str, ...]
    flag: str
    env: str
    guide: str | None
    panel: str
    title: str
    help: str
    kind: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    default: str | None
    scope: str
    advanced: bool
    secret: bool
    allowed: str

    def mentions(self, word: str) -> bool:
        """Whether the word occurs in a name, the title, the help or the panel; case does not matter."""
        texts = (self.name, self.flag, self.env, self.guide or "", self.panel, self.title, self.help)
        return any(word.casefold() in text.casefold() for text in texts)


def entries(job: str = "") -> list[Entry]:
    """All settings by panel, in the order in which they are declared; `job` keeps those of one kind (a key of `MODELS`)."""
    found: dict[tuple[str, object], Entry] = {}
    for kind, one in _declared():
        known = found.get((one.name, one.text))
        jobs = (*known.jobs, kind) if known else (kind,)
        found[one.name, one.text] = _entry(one, jobs)
    kept = [entry for entry in found.values() if not job or job in entry.jobs]
    return sorted(kept, key=lambda entry: PANELS.index(entry.panel))


def _declared() -> Iterator[tuple[str, Setting]]:
    for kind, (model, meaningless) in MODELS.items():
        for name, one in settings_of(model).items():
            if name not in meaningless:
                yield kind, one


def _entry(one: Setting, jobs: tuple[str, ...]) -> Entry:
    return Entry(
        name=one.name,
        jobs=jobs,
        flag=one.flag,
        env=one.env,
        guide=one.guide or None,
        panel=one.panel,
        title=one.title,
        help=one.text,
        kind=_kind(one),
        unit=_unit(one),
        low=one.low,
        high=one.high,
        choices=one.choices,
        default=_default(one),
        scope=one.scope,
        advanced=one.name not in BASIC,
        secret=one.secret,
        allowed=one.allowed,
    )


def _kind(one: Setting) -> str:
    named = next((kind for ending, kind in _NAMES.items() if one.name.endswith(ending)), "")
    return named if named and one.kind == "text" else one.kind


def _unit(one: Setting) -> str:
    if one.name in _PER_SECOND:
        return "bytes/s"
    return _UNITS.get(one.kind) or next((unit for end, unit in _UNITS_BY_ENDING.items() if one.name.endswith(end)), "")


def _default(one: Setting) -> str | None:
    value = one.default
    if one.name == "state":
        return _DEFAULT_STATE  # the same on every machine
    if value is None or value in ("", ()):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown_default(entry: Entry) -> str:
    """For people: sizes with their unit; "" for nothing."""
    if entry.default and entry.kind == "size":
        return format_size(int(entry.default))
    return entry.default or ""


def shown_values(entry: Entry) -> str:
    """For people: what it takes, in a few words."""
    if entry.kind == "flag":
        return "true, false"
    if entry.kind == "choice":
        return ", ".join(choice for choice in entry.choices if choice)
    bound = format_size if entry.kind == "size" else str
    low, high = (
        "" if one is None else bound(int(one)) if one == int(one) else f"{one:g}" for one in (entry.low, entry.high)
    )
    bounds = f"{low} to {high}" if low and high else f"from {low}" if low else f"to {high}" if high else ""
    kind = {"integer": "number", "size": "size"}.get(entry.kind, entry.kind)
    unit = "" if entry.kind == "size" and entry.unit == "bytes" else entry.unit
    return ", ".join(part for part in (f"{kind} ({unit})" if unit else kind, bounds) if part)


_CHAPTERS = (
    ("Objects and images", ("objects", "images")),
    ("Objects", ("objects",)),
    ("Images", ("images",)),
)

_ABOUT = """\
# Settings

Every setting can be given as a flag (`--src-region`), as a variable of the environment (`DTH_SRC_REGION`), or in a job file
(`src_region`), where the original's name (`srcRegion`) works as well. Flags beat the environment, and the environment beats
the file.

A setting of scope *job* is kept with each run, so that every worker copies alike. A setting of scope *process* belongs to the
process that was given it.

- `dth settings WORD` shows the settings that have to do with a word.
- `dth settings --json` prints the whole catalogue for machines: one object a line.
- Sizes are bytes, or have a unit: `64MiB`, `1.5GB`.

This page is made from `dth/settings/` by `python -m dth.settings.catalog`.
"""


def page() -> str:
    """The text of `docs/settings.md`."""
    lines = [_ABOUT.rstrip("\n")]
    everything = entries()
    for title, jobs in _CHAPTERS:
        chapter = [one for one in everything if one.jobs == jobs]
        lines += ["", f"## {title}"]
        for panel in dict.fromkeys(one.panel for one in chapter):
            lines += ["", f"### {panel}", ""]
            lines += ["| setting | original | values | default | scope | what it does |", "|---|---|---|---|---|---|"]
            lines += [_row(one) for one in chapter if one.panel == panel]
    return "\n".join(lines) + "\n"


def _row(one: Entry) -> str:
    default = shown_default(one)
    cells = (
        f"`{one.name}`",
        f"`{one.guide}`" if one.guide else "",
        shown_values(one),
        f"`{default}`" if default else "",
        one.scope,
        one.help,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path("docs/settings.md").write_text(page(), encoding="utf-8")
