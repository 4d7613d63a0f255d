"""ministack: SQS, DynamoDB, ECR and other AWS services in one process (starts in about a second), state in memory.

It lives in an environment of its own, because its dependencies are not ours: `DTH_TEST_MINISTACK` names its program, else
it is looked for beside this interpreter, in `build/services/bin` and on PATH.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .processes import answers_ok, end, free_ports, spawn, wait_until

_ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "000000000000", "us-east-1"


@dataclass(frozen=True, slots=True)
class Ministack:
    """A running one. Any credentials are accepted."""

    endpoint: str
    folder: Path
    pid: int
    region: str = REGION

    def stop(self) -> None:
        """SIGKILL (it can hang on SIGTERM), wait, remove its data."""
        end([self.pid], self.folder)


def program() -> str:
    """Path of the program, "" where there is none."""
    named = os.environ.get("DTH_TEST_MINISTACK", "")
    places = [named] if named else []
    places += [str(Path(sys.executable).parent / "ministack"), str(_ROOT / "build/services/bin/ministack")]
    return next((place for place in places if place and Path(place).exists()), shutil.which("ministack") or "")


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    return "" if program() else "ministack is not installed (pip: ministack==1.5.33, in an environment of its own)"


def start(*, auth: bool = False, wait_scale: float = 0.02) -> Ministack:
    """Start it on a free port of loopback; with `auth` it enforces IAM (root: test, test). A second of a state machine's waiting,
    and of its patience with a task, takes `wait_scale` seconds. Returns when it is healthy."""
    folder = Path(tempfile.mkdtemp(prefix="dth-ministack-"))
    (port,) = free_ports(1)
    log = folder / "output"
    link = folder / "ministack"  # so that the command line names the folder: `processes.end` asks whose a pid is
    link.symlink_to(program())
    process = spawn(
        [str(link)],
        log,
        keep=False,
        env={
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "SFN_WAIT_SCALE": str(wait_scale),
            "TMPDIR": str(folder),
            **({"AUTH": "true"} if auth else {}),
        },
    )
    process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about
    running = Ministack(f"http://127.0.0.1:{port}", folder, process.pid)
    try:
        wait_until(lambda: answers_ok(port, "/_ministack/health"), "ministack", 60, log)
    except BaseException:
        running.stop()
        raise
    return running
