"""Debian's Chromium, driven by Playwright, and the built console that it looks at."""

import shutil
from importlib.resources import files
from pathlib import Path


def program() -> str:
    """The browser; "" where there is none."""
    return shutil.which("chromium") or ""


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    if not program():
        return "Chromium is not installed (apt: chromium)"
    if not Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc").exists():
        return "no font with Chinese characters (apt: fonts-noto-cjk)"
    if not files("dth.hub").joinpath("console", "index.html").is_file():
        return "this dth was built without its console (make console)"
    return ""
