"""Selection: rules alone, the same rules in a plan, and what `--explain` says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.events import Event, ListingProgress, Planned
from dth.finder.compare import CompareMode, deciding
from dth.finder.explain import explain
from dth.finder.run import preview
from dth.finder.select import Rules, Selection, selection
from dth.model import Entry, KeyMapping
from dth.states import Reason
from tests.unit.finder_fakes import CAPABILITIES, FakeLister, entry, finder_settings, keys, no_emit, paged

NOTHING: dict[str, Any] = {
    "include": (), "exclude": (), "min_size": 0, "max_size": None, "modified_after": None, "modified_before": None,
    "storage_classes": (),
}  # fmt: skip


def chosen(names: list[str], prefix: str = "", **rules: Any) -> list[str]:
    select = Selection(Rules(**{**NOTHING, **rules}), prefix)
    page = [entry(prefix + name) for name in names]
    out = select.rejected(names, page)
    for name, one in zip(names, page, strict=True):
        assert bool(select.why_not(name, one)[0]) is (one.key in out)
    return [name for name in names if prefix + name not in out]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"include": ("*.jpg",)}, ["a.jpg", "d/b.jpg", "d/e/c.jpg"]),
        ({"include": ("d/*",)}, ["d/b.jpg", "d/e/c.jpg", "d/x.txt"]),
        ({"include": ("?.jpg",)}, ["a.jpg"]),
        ({"include": ("[ab].jpg", "*/[!b].jpg")}, ["a.jpg", "d/e/c.jpg"]),
        ({"include": ("*.JPG",)}, []),
        ({"include": ("a",)}, []),
        ({"exclude": ("d/*",)}, ["a.jpg", "new\nline.jpg.", "A.txt"]),
        ({"include": ("*.jpg",), "exclude": ("d/e/*",)}, ["a.jpg", "d/b.jpg"]),
        ({"include": ("d/e/c.jpg",), "exclude": ("*",)}, []),
    ],
)
def test_patterns_choose_whole_names_with_regard_to_case_and_exclude_wins(
    rules: dict[str, Any], expected: list[str]
) -> None:
    names = ["a.jpg", "d/b.jpg", "d/e/c.jpg", "d/x.txt", "new\nline.jpg.", "A.txt"]
    assert chosen(names, **rules) == expected
    assert chosen(names, prefix="some/where/", **rules) == expected


def test_below_a_prefix_that_is_no_folder_names_begin_after_its_last_slash() -> None:
    assert chosen(["-01/a", "-02/a"], prefix="logs/2026", include=("2026-01/*",)) == ["-01/a"]


def test_a_pattern_of_many_stars_takes_no_exponential_time() -> None:
    assert chosen(["a" * 1000], include=("*a" * 30 + "b",)) == []


def test_sizes_include_their_bounds_and_windows_of_time_leave_nothing_out() -> None:
    page = [entry(str(size), size) for size in (9, 10, 20, 21)]
    select = Selection(Rules(**{**NOTHING, "min_size": 10, "max_size": 20}), "")
    assert select.rejected([one.key for one in page], page) == {"9", "21"}
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    at = [
        entry(time, modified=time)
        for time in ("2024-05-01T11:59:59.999Z", "2024-05-01T12:00:00.000Z", "2024-05-01T12:00:00Z")
    ]
    after = Selection(Rules(**{**NOTHING, "modified_after": noon.replace(tzinfo=None)}), "")
    before = Selection(Rules(**{**NOTHING, "modified_before": noon}), "")
    names = [one.key for one in at]
    assert after.rejected(names, at) == {names[0]}
    assert before.rejected(names, at) == set(names[1:])


def test_a_time_that_cannot_be_read_is_copied_and_never_deleted() -> None:
    select = Selection(Rules(**{**NOTHING, "modified_before": datetime(2024, 1, 1, tzinfo=UTC)}), "")
    page = [entry("a", modified="yesterday")]
    assert select.rejected(["a"], page) == set()
    assert select.deletable(["a"], page) == []


def test_no_storage_class_means_standard() -> None:
    select = Selection(Rules(**{**NOTHING, "storage_classes": ("STANDARD",)}), "")
    page = [entry("a"), entry("b", cls="STANDARD"), entry("c", cls="GLACIER_IR")]
    assert select.rejected(["a", "b", "c"], page) == {"c"}


def test_rules_that_take_everything_are_no_selection() -> None:
    assert selection(Rules(**NOTHING), "p/") is None


trees = st.dictionaries(keys, st.integers(0, 3), max_size=20)


@given(source=trees, destination=trees, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
async def test_a_plan_holds_what_is_selected_and_a_source_object_left_out_never_looks_like_an_extra(
    source: dict[str, int], destination: dict[str, int], sizes: list[int]
) -> None:
    select = Selection(Rules(**{**NOTHING, "exclude": ("*a",), "max_size": 2}), "")
    ours = [entry(key, size) for key, size in sorted(source.items())]
    theirs = [entry(key, size) for key, size in sorted(destination.items())]
    events: list[Event] = []
    found = await preview(
        FakeLister(paged(ours, sizes)), FakeLister(paged(theirs, sizes)), finder_settings(select=select), events.append
    )

    def takes(key: str, size: int) -> bool:
        return not key.endswith("a") and size <= 2

    wanted = [key for key, size in sorted(source.items()) if takes(key, size) and destination.get(key) != size]
    assert [event.key for event in events if isinstance(event, Planned)] == wanted
    assert found.not_selected == sum(not takes(*one) for one in source.items())
    assert found.compared == len(source)
    assert found.extra == sum(takes(*one) for one in destination.items() if one[0] not in source)
    last = next(event for event in reversed(events) if isinstance(event, ListingProgress))
    assert last.not_selected == found.not_selected


@pytest.mark.parametrize(
    ("key", "action", "rule"),
    [
        ("p/new", "copy", "the destination lacks it"),
        ("new", "copy", "the destination lacks it"),
        ("p/same", "keep", "nothing that is compared says that it differs"),
        ("p/bigger", "copy", "the sizes differ"),
        ("p/x.tmp", "keep", "not selected: --exclude '*.tmp' matches 'x.tmp'"),
        ("p/cold", "skip", "it lies in an archive class and must be restored first"),
        ("p/old", "delete", "only the destination has it, and --delete was asked for"),
        ("p/old.tmp", "keep", "only the destination has it, but the selection protects it: --exclude '*.tmp' matches 'old.tmp'"),
        ("p/none", "nothing", "no side that was asked has it"),
    ],
)  # fmt: skip
async def test_explain_names_the_rule_that_decides(key: str, action: str, rule: str) -> None:
    ours = [entry("p/bigger", 2), entry("p/cold", cls="GLACIER"), entry("p/new"), entry("p/same"), entry("p/x.tmp")]
    theirs = [entry("q/bigger"), entry("q/old"), entry("q/old.tmp"), entry("q/same")]
    said = await explain(
        FakeLister([ours]),
        FakeLister([theirs]),
        KeyMapping("p/", "q/", strip=True),
        deciding(CompareMode.AUTO, CAPABILITIES, CAPABILITIES),
        Selection(Rules(**{**NOTHING, "exclude": ("*.tmp",)}), "p/"),
        key,
        delete=True,
    )
    assert (said.action, said.rule) == (action, rule)


async def test_skip_compare_selects_as_well() -> None:
    select = Selection(Rules(**{**NOTHING, "include": ("b*",)}), "")
    source: list[Entry] = [entry("a"), entry("b"), entry("c")]
    found = await preview(
        FakeLister([source]), FakeLister([]), finder_settings(select=select, skip_compare=True), no_emit
    )
    assert (found.reasons, found.not_selected) == ({Reason.UNCOMPARED: 1}, 2)
