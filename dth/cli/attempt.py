"""The door of a process that a hub starts: `python -m dth.cli.attempt FOLDER ARGUMENTS...` runs `dth ARGUMENTS`.

It says who it is before it does anything, and how it ended, in files of the folder: a hub that is not its parent, because it was
started later, learns both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dth.hub.here.claim import birth, claim

TAKEN_BACK = 75


def main() -> None:
    """Run the command, unless the hub has taken it back."""
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    own = os.getpid()
    if not claim(folder, f"{own} {birth(own)}\n"):
        sys.exit(TAKEN_BACK)
    sys.argv = ["dth", *arguments]
    from dth.__main__ import start  # noqa: PLC0415 - after the claim; `run` would end the process before it says how

    code: object = 1
    try:
        start()
    except SystemExit as ended:
        code = ended.code
        raise
    finally:
        if os.getpid() == own:  # a fork of it may pass here, too
            _leave(folder, code)


def _leave(folder: Path, code: object) -> None:
    """Say how it ended."""
    beside = folder / ".exit"
    beside.write_text(f"{code if isinstance(code, int) else int(bool(code))}\n", "ascii")
    beside.replace(folder / "exit")


if __name__ == "__main__":
    main()
