"""What is kept of tasks' settings: revisions, the locations that they name, and other ways to write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dth.hub import forms, shapes, spelling
from dth.hub.base import Hub, Revision, Saved, Who
from dth.hub.serve import Table
from dth.hub.wanted import Wanted

Args = Mapping[str, Any]


class Kept:
    """Its queries."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def table(self) -> Table:
        """Field to function."""
        return {
            ("Query", "revisions"): self.revisions,
            ("Query", "locations"): self.locations,
            ("Query", "spellings"): self.spellings,
        }

    async def revisions(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """A task as it was saved, the newest first."""
        row = await self._hub.task(args["taskId"])
        found = await self._hub.tasks.revisions(row.id, int(args.get("limit") or 20), args.get("after") or "")
        return {"items": [_revision(one) for one in found.items], "after": found.after or None}

    async def locations(self, _args: Args, _who: Who, _wanted: Wanted) -> list[dict[str, Any]]:
        """Where tasks read and write."""
        return [_location(one) for one in await self._hub.locations.all()]

    async def spellings(self, args: Args, _who: Who, _wanted: Wanted) -> dict[str, Any]:
        """The same task in other spellings."""
        row = await self._hub.task(args["taskId"])
        return {
            "command": spelling.command(row.type, row.settings),
            "jobFile": spelling.job_file(row.settings),
            "parameters": forms.parameters(row.type, row.settings, row.extras),
            "template": spelling.template(row.type, row.settings, row.extras),
        }


def _revision(one: Revision) -> dict[str, Any]:
    settings = one.fields["settings"]
    return {
        "revision": one.number,
        "savedAt": shapes.when(one.at),
        "name": one.fields["name"],
        "description": one.fields["description"],
        "schedule": one.fields["schedule"] or None,
        "settings": [{"name": name, "value": value} for name, value in settings.items()],
        "changes": list(_changes(one.before, one.fields)) if one.before else [],
    }


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What differs: of the task itself, and of its settings by their names."""
    for name in ("name", "description", "schedule"):
        if before[name] != after[name]:
            yield {"name": name, "before": before[name] or None, "after": after[name] or None}
    old, new = before["settings"], after["settings"]
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield {"name": name, "before": old.get(name), "after": new.get(name)}


def _location(one: Saved) -> dict[str, Any]:
    named = {name.partition("_")[2]: value for name, value in one.settings.items()}
    bucket, profile = named.get("bucket", ""), named.get("profile")
    place = {
        "provider": named.get("type") or ("S3_Compatible" if named.get("endpoint") else "Amazon_S3"),
        "endpoint": named.get("endpoint"),
        "region": named.get("region"),
        "bucket": bucket,
        "prefix": "",
        "credential": named.get("credentials") or (f"profile {profile}" if profile else None),
        "profile": None if named.get("credentials") else profile,
        "url": f"s3://{bucket}",
    }
    check = one.check and {**one.check, "at": shapes.when(one.check["at"])}
    return {
        "side": {"src": "source", "dest": "destination"}[one.side],
        "location": place,
        "settings": [{"name": name, "value": value} for name, value in one.settings.items()],
        "taskIds": list(one.tasks[:20]),
        "tasks": len(one.tasks),
        "lastCheck": check,
    }
