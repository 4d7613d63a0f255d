"""The composition root: settings become stores, queue, ledger and processes here, and nowhere else.

One function a verb. They emit events, return a `Summary` and raise `DthError`; what the user sees is the faces' business.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dth.app.build import run_child
    from dth.app.fleet import complete_multipart, init, redrive, remove
    from dth.app.image_queue import enqueue_images
    from dth.app.images import ecr_sync, list_images
    from dth.app.oneoff import sync
    from dth.app.probing import probe
    from dth.app.selecting import explain_key
    from dth.app.verbs import Status, find, status, work
    from dth.app.verifying import verify

__all__ = [
    "Status",
    "complete_multipart",
    "ecr_sync",
    "enqueue_images",
    "explain_key",
    "find",
    "init",
    "list_images",
    "probe",
    "redrive",
    "remove",
    "run_child",
    "status",
    "sync",
    "verify",
    "work",
]

_MODULES = {
    "complete_multipart": "fleet",
    "init": "fleet",
    "redrive": "fleet",
    "remove": "fleet",
    "run_child": "build",
    "ecr_sync": "images",
    "enqueue_images": "image_queue",
    "list_images": "images",
    "explain_key": "selecting",
    "probe": "probing",
    "sync": "oneoff",
    "Status": "verbs",
    "find": "verbs",
    "status": "verbs",
    "work": "verbs",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    """Import what a verb needs when it is asked for: every worker process of a sync would pay for the others, too."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
