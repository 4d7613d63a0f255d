"""One key's story: what a run would do about it and why, asked at both sides now."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from dth.errors import DthError
from dth.hub import forms
from dth.hub.base import Refused, TaskRow
from dth.hub.here.folder import HubFolder
from dth.hub.shapes import when
from dth.settings import TransferJob

if TYPE_CHECKING:
    from dth.app.explain import Head


class Story:
    """Asks the engine."""

    def __init__(self, folder: HubFolder) -> None:
        self._folder = folder

    async def explain(self, task: TaskRow, key: str) -> Mapping[str, Any]:
        """The schema's `Story` without its records. A side that could not be asked says why: that is no absence."""
        from dth.app.explain import story_of_key  # noqa: PLC0415 - a hub that only shows needs no engine

        job = forms.job_of(task.type, task.settings)
        if not isinstance(job, TransferJob):
            raise Refused("not_for_images", "one image's story is in its record")
        here = job.model_copy(update={"state": self._folder.root})
        try:
            told = await story_of_key(here, key)
        except DthError as error:
            return {
                "key": key,
                "rule": str(error),
                "code": error.code,
                "setting": None,
                "action": "unknown",
                **_side("source", error),
                **_side("destination", error),
            }
        one = told.explained
        return {
            "key": one.key,
            "destKey": one.dest_key,
            "rule": one.rule,
            "code": one.code,
            "setting": one.setting or None,
            "action": one.action,
            **_side("source", told.source),
            **_side("destination", told.destination),
        }


def _side(name: str, head: Head) -> dict[str, Any]:
    """What one side says of the object."""
    if head is None or isinstance(head, DthError):
        return {name: None, f"{name}Error": str(head) if head else None}
    facts = {
        "size": head.generation.size,
        "etag": head.generation.etag,
        "modifiedAt": _moment(head.last_modified),
        "storageClass": head.storage_class or "STANDARD",
        "versionId": head.generation.version_id or None,
        "checksum": next((f"{algorithm} {value}" for algorithm, value in head.checksums), None),
        "headers": _pairs(head.attributes.headers),
        "metadata": _pairs(head.attributes.metadata),
    }
    return {name: facts, f"{name}Error": None}


def _moment(text: str) -> str | None:
    """HTTP's date as the schema has dates; None for what is none."""
    try:
        return when(parsedate_to_datetime(text).timestamp())
    except ValueError:
        return None


def _pairs(values: Any) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values]
