"""The console's files, as browsers get them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from dth.hub.pages import Console

FIRST = b"<!doctype html><script type=module src=/assets/index-abc.js></script>"
SCRIPT = b"console.log('long enough to be worth packing');\n" * 100


@pytest.fixture
def console(tmp_path: Path) -> Console:
    (tmp_path / "built" / "assets").mkdir(parents=True)
    (tmp_path / "built" / "index.html").write_bytes(FIRST)
    (tmp_path / "built" / "icon.svg").write_bytes(b"<svg/>")
    (tmp_path / "built" / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "secret.txt").write_text("not of the console")
    return Console.of_folder(tmp_path / "built")


def get(console: Console, path: str, **headers: str) -> Response:
    answer = console.answer(path, Headers({name.replace("_", "-"): value for name, value in headers.items()}))
    assert answer is not None
    return answer


def test_an_asset_is_kept_for_ever_and_packed_for_who_takes_it(console: Console) -> None:
    plain = get(console, "assets/index-abc.js")
    assert (plain.body, plain.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert "immutable" in plain.headers["cache-control"]
    assert "content-encoding" not in plain.headers
    packed = get(console, "assets/index-abc.js", accept_encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(bytes(packed.body)) < len(SCRIPT) // 5
    assert gzip.decompress(bytes(packed.body)) == SCRIPT
    assert packed.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("path", ["", "index.html", "tasks", "tasks/123/failures", "new"])
def test_every_page_is_the_first_file_which_is_asked_for_again_each_time(console: Console, path: str) -> None:
    answer = get(console, path)
    assert (answer.body, answer.headers["cache-control"]) == (FIRST, "no-cache")
    again = get(console, path, if_none_match=answer.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["assets/gone.js", "assets/../index.html", "assets/"])
def test_an_asset_that_is_not_there_is_no_page(console: Console, path: str) -> None:
    assert console.answer(path, Headers({})) is None


@pytest.mark.parametrize("path", ["../secret.txt", "/../secret.txt", "%2e%2e/secret.txt", "icon.svg/../../secret.txt"])
def test_no_path_leads_out_of_the_folder(console: Console, path: str) -> None:
    assert get(console, path).body == FIRST


def test_a_copy_without_a_console_says_so(tmp_path: Path) -> None:
    answer = get(Console.of_folder(tmp_path / "none"), "tasks")
    assert answer.status_code == 200
    assert b"without its console" in bytes(answer.body)
    assert answer.headers["cache-control"] == "no-store"


def test_a_wheel_holds_the_console_where_it_was_built(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    source = tmp_path / "source"
    built = source / "dth" / "hub" / "console"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_bytes(FIRST)
    (built / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (source / "dth" / "cli").mkdir()
    (source / "dth" / "__init__.py").write_text('__version__ = "0"\n')
    (source / "dth" / "cli" / "dth.1").write_text("")
    (source / ".gitignore").write_text("/dth/hub/console/\n")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((root / name).read_bytes())
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "out")]
    subprocess.run(argv, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert {"dth/hub/console/index.html", "dth/hub/console/assets/index-abc.js"} <= names
