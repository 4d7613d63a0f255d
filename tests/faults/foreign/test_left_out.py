"""Kind 11, what proves that the other side's listing was wrong is seen and not said: extra keys that the source turns out to
hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.foreign.stand import DEST, SOURCE, Stand, stand
from tests.servers.wire import Answer, Request

pytestmark = pytest.mark.slow


def leaves_out(s: Stand, keys: Collection[str]) -> None:
    """The source's listing does not show these, although they are there."""

    def before(operation: str, request: Request) -> Answer | None:
        if operation != "list":
            return None
        hidden = {key: s.source.objects.pop((SOURCE, key)) for key in keys}
        try:
            return s.source._list(request, b"")
        finally:
            s.source.objects.update({(SOURCE, key): item for key, item in hidden.items()})

    s.source.before = before


@pytest.mark.parametrize("flags", [(), ("--delete",), ("--delete", "--max-delete", "100%")], ids=" ".join)
def test_a_listing_that_ends_early_is_found_out_by_what_the_destination_has(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with stand(tmp_path) as s:
        s.fill(30)
        s.sync()
        leaves_out(s, [f"k{number:03}" for number in range(20, 30)])
        s.destination.hold(DEST, "truly-extra", b"x")
        done = s.sync(*flags, expect=3)
        assert [event["code"] for event in done.events if event["event"] == "error"] == ["listing_failed"]
        assert s.destination.count("delete") == 0
        s.source.before = lambda operation, request: None
        s.sync("--delete")
        assert "truly-extra" not in s.arrived


def test_an_object_that_came_after_the_listing_proves_nothing(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(5)
        s.sync()
        leaves_out(s, ["k004"])
        s.source.objects[SOURCE, "k004"] = replace(s.source.objects[SOURCE, "k004"], modified=4102444800.0)
        s.sync("--delete")
        assert "k004" in s.arrived


def test_verify_says_that_a_listing_left_out_what_its_store_holds(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(30)
        s.sync()
        leaves_out(s, [f"k{number:03}" for number in range(20, 30)])
        done = s.run("verify", expect=3)
        told = {event["detail"] for event in done.events if event["event"] == "Difference"}
    assert any("its listing left it out" in detail for detail in told)
