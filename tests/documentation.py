"""The documentation as tests read it: its pages, and the commands that they show."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    """Every command in a shell block of the page, each on one line."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        joined = block.replace("\\\n", " ")
        lines += [" ".join(line.split()) for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return lines


def without_shell(line: str) -> str:
    """The command alone: no comment, no redirection (`>> job.toml`, `source <(dth completion bash)`)."""
    line = re.sub(r"(^|\s)#\s.*", "", line)
    line = re.sub(r"^source <\((.*)\)$", r"\1", line.strip())
    return re.sub(r"\s>>?\s.*", "", line)
