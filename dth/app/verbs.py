"""Every verb of `dth` as a function, each loaded when it is asked for.

Verbs emit events, return a `Summary` and raise `DthError`. What people see of it is made in `dth.cli.output`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dth.app.build import run_child
    from dth.app.complete_multipart import complete_multipart
    from dth.app.explain import explain_key
    from dth.app.find import find
    from dth.app.images.ecr_sync import ecr_sync, list_images
    from dth.app.images.enqueue import enqueue_images
    from dth.app.init import init, remove
    from dth.app.limit import change_limits, limits_now
    from dth.app.live import Live
    from dth.app.probe import probe
    from dth.app.redrive import redrive
    from dth.app.status import Status, failures, status
    from dth.app.sync import sync
    from dth.app.verify import verify
    from dth.app.work import work

__all__ = [
    "Live",
    "Status",
    "change_limits",
    "complete_multipart",
    "ecr_sync",
    "enqueue_images",
    "explain_key",
    "failures",
    "find",
    "init",
    "limits_now",
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
    "Live": "live",
    "change_limits": "limit",
    "limits_now": "limit",
    "complete_multipart": "complete_multipart",
    "init": "init",
    "redrive": "redrive",
    "remove": "init",
    "run_child": "build",
    "ecr_sync": "images.ecr_sync",
    "enqueue_images": "images.enqueue",
    "list_images": "images.ecr_sync",
    "explain_key": "explain",
    "probe": "probe",
    "sync": "sync",
    "Status": "status",
    "failures": "status",
    "find": "find",
    "status": "status",
    "work": "work",
    "verify": "verify",
}


def __getattr__(name: str) -> Any:
    """Import what a verb needs when it is asked for: every worker process of a sync would pay for the others, too."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"dth.app.{_MODULES[name]}"), name)
