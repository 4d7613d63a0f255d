"""Looks for known vulnerabilities in what the engine is locked to: `python release/audit.py PIP-AUDIT LOCK`.

Exit 1 where there is one. Where no database of advisories can be reached, packages are not audited: that is said, and it is
exit 0, unless DTH_REQUIRE_AUDIT=1 asks for an audit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def judge(dependencies: list[dict[str, Any]]) -> tuple[int, str]:
    """(exit code, one text) for what pip-audit found."""
    found = [
        f"{one['name']} {one['version']}: {', '.join(each['id'] for each in one['vulns'])}"
        for one in dependencies
        if one.get("vulns")
    ]
    if found:
        return 1, "known vulnerabilities:\n" + "\n".join(found)
    unknown = sorted(one["name"] for one in dependencies if "skip_reason" in one)
    if unknown or not dependencies:
        required = os.environ.get("DTH_REQUIRE_AUDIT") == "1"
        return int(required), f"not audited, no advisories could be had: {len(unknown)} of {len(dependencies)} packages"
    return 0, f"{len(dependencies)} packages audited, no known vulnerability"


def main() -> int:
    """Run it."""
    program, lock = sys.argv[1:]
    words = [program, "--disable-pip", "--require-hashes", "-r", lock, "-f", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - the caller names it
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        dependencies = []
    code, text = judge(dependencies)
    sys.stdout.write(f"audit: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
