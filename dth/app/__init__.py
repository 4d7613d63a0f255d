"""The composition root: settings become stores, queue, ledger and processes here, and nowhere else.

One function a verb. They emit events, return a `Summary` and raise `DthError`; what the user sees is the faces' business.
"""

from dth.app.build import run_child
from dth.app.images import ecr_sync, list_images
from dth.app.oneoff import sync
from dth.app.verbs import Status, find, status, work
from dth.app.verify import verify

__all__ = ["Status", "ecr_sync", "find", "list_images", "run_child", "status", "sync", "verify", "work"]
