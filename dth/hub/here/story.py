"""One key's story: what a run would do about it and why, asked at both sides now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dth.errors import DthError
from dth.events import Event, Explained
from dth.hub import forms
from dth.hub.base import Refused, TaskRow
from dth.hub.here.folder import HubFolder
from dth.settings import TransferJob


class Story:
    """Asks the engine."""

    def __init__(self, folder: HubFolder) -> None:
        self._folder = folder

    async def explain(self, task: TaskRow, key: str) -> Mapping[str, Any]:
        """Key, rule and action; what both sides know of it."""
        from dth.app.explain import explain_key  # noqa: PLC0415 - a hub that only shows needs no engine

        job = forms.job_of(task.type, task.settings)
        if not isinstance(job, TransferJob):
            raise Refused("not_for_images", "one image's story is in its record")
        told: list[Explained] = []

        def take(event: Event) -> None:
            if isinstance(event, Explained):
                told.append(event)

        here = job.model_copy(update={"state": self._folder.root})
        try:
            await explain_key(here, key, take, asyncio.Event())
        except DthError as error:
            return {"key": key, "rule": str(error), "action": "unknown", "source": None, "destination": None}
        if not told:
            return {
                "key": key,
                "rule": "nothing is known of it",
                "action": "nothing",
                "source": None,
                "destination": None,
            }
        return {"key": key, "rule": told[0].rule, "action": told[0].action, "source": None, "destination": None}
