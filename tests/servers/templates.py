"""The synthesized templates, made once before the tests: `DTH_TEST_TEMPLATES` names their folder, else `dist/templates`.

What checks them is in an environment of its own: `DTH_TEST_DEPLOY` names its `bin`, else `build/deploy/bin`.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_FOLDER = Path(os.environ.get("DTH_TEST_TEMPLATES") or _ROOT / "dist/templates")
_TOOLS = Path(os.environ.get("DTH_TEST_DEPLOY") or _ROOT / "build/deploy/bin")
"""Both read when the run begins: unit tests take the switches of the run out of their environment."""
S3, ECR = "S3Plugin", "EcrPlugin"


def missing() -> str:
    """Why they cannot be tested here; "" if they can."""
    return "" if path(S3).exists() and path(ECR).exists() else "no templates in dist/templates (make templates)"


def path(name: str) -> Path:
    """The file of one."""
    return _FOLDER / f"{name}.template.json"


def read(name: str) -> dict[str, Any]:
    """One of them."""
    found: dict[str, Any] = json.loads(path(name).read_text())
    return found


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a kind, by id."""
    return {name: one.get("Properties", {}) for name, one in template["Resources"].items() if one["Type"] == kind}


def check(name: str, *words: str) -> tuple[int, str]:
    """How one of the tools ended, and what it said."""
    done = subprocess.run([_TOOLS / name, *words], capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr
