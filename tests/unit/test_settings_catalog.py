"""The catalogue of settings: complete, true to the declarations, the same for the command, the documentation and the hub."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dth.cli.main import app
from dth.hub import forms
from dth.hub.states import TaskType
from dth.settings import IMAGE_NOT_YET, ImageJob, TransferJob, settings_of
from dth.settings.catalog import BASIC, MODELS, Entry, entries, page

ROOT = Path(__file__).parents[2]
NAMES = {"credential", "bucket", "region"}


def settings(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["settings", *words])


def catalogue(*words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in settings("--json", *words).stdout.splitlines()]


def test_every_setting_of_both_kinds_of_job_is_in_the_catalogue_once() -> None:
    for job, model, left_out in (("objects", TransferJob, set[str]()), ("images", ImageJob, set(IMAGE_NOT_YET))):
        listed = [one["name"] for one in catalogue() if job in one["jobs"]]  # type: ignore[operator]
        assert len(listed) == len(set(listed))
        assert set(listed) == set(settings_of(model)) - left_out


def test_what_the_console_needs_of_each_setting_is_there() -> None:
    wanted = {
        "panel",
        "title",
        "help",
        "kind",
        "unit",
        "low",
        "high",
        "choices",
        "guide",
        "default",
        "scope",
        "advanced",
    }
    for one in catalogue():
        assert wanted < set(one)
        assert one["event"] == "Setting"
        assert one["scope"] in {"job", "process"}
        assert one["kind"] in {"flag", "size", "list", "choice", "time", "integer", "number", "text", *NAMES}
        assert bool(one["choices"]) == (one["kind"] == "choice")
        assert all(one[text] for text in ("name", "flag", "env", "panel", "title", "help", "allowed"))


def test_units_bounds_and_the_originals_name_are_those_of_the_declaration() -> None:
    known = {(one.name, one.jobs): one for one in entries()}
    depth = known["finder_depth", ("objects",)]
    assert (depth.guide, depth.kind, depth.low, depth.high, depth.default) == ("finderDepth", "integer", 0, 100, "0")
    assert known["bandwidth", ("objects", "images")].unit == "bytes/s"
    assert known["part_size", ("objects",)].unit == "bytes"
    assert known["lease_seconds", ("objects", "images")].unit == "seconds"
    assert known["restore_days", ("objects",)].unit == "days"
    assert known["src_credentials", ("images",)].kind == "credential"


@pytest.mark.parametrize("job", MODELS)
def test_a_default_as_text_is_the_value_that_holds_where_nothing_is_set(job: str) -> None:
    model, _ = MODELS[job]
    for one in entries(job):
        if one.name != "state" and one.default is not None:
            assert (
                getattr(model.model_validate({one.name: one.default}), one.name) == settings_of(model)[one.name].default
            )


def test_what_a_short_form_shows_exists() -> None:
    assert {one.name for one in entries()} >= BASIC


def test_the_hubs_forms_are_the_catalogue() -> None:
    for kind, job in ((TaskType.S3EC2, "objects"), (TaskType.ECR, "images")):
        shown = {one["name"]: one for panel in forms.panels(kind) for one in panel["settings"]}
        listed = {one.name: one for one in entries(job)}
        assert set(shown) == set(listed) - forms.OURS
        for name, one in shown.items():
            mine = listed[name]
            assert (one["help"], one["kind"], one["low"], one["high"]) == (
                mine.help,
                mine.kind.upper(),
                mine.low,
                mine.high,
            )
            assert (one["default"], one["guideName"], one["advanced"]) == (mine.default, mine.guide, mine.advanced)


def test_a_word_finds_settings_by_any_of_their_names_and_by_their_help() -> None:
    def names(word: str) -> set[object]:
        return {one["name"] for one in catalogue(word)}

    assert names("srcPrefixsListFile") == {"src_prefix_list"}
    assert names("giant-threshold") == {"giant_threshold"}
    assert names("DTH_TABLE") == {"table"}
    assert {"max_delete", "delete_to"} < names("DELETE")


def test_a_word_that_means_nothing_is_an_error_that_helps() -> None:
    done = settings("bandwith\x1b[31m")
    assert done.exit_code == 2
    assert "did you mean bandwidth?" in done.output
    assert "\x1b" not in done.output


def test_a_person_gets_a_table_in_which_nothing_is_cut() -> None:
    text = settings().stdout
    assert "…" not in text
    for one in entries():
        assert one.flag in text


def test_the_page_of_settings_is_the_catalogue() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page(), "run python -m dth.settings.catalog"


def test_the_command_leaves_nothing_of_an_entry_out() -> None:
    names = [field.name for field in dataclasses.fields(Entry)]
    assert [[one[name] for name in names] for one in catalogue()] == json.loads(
        json.dumps([[getattr(one, name) for name in names] for one in entries()])
    )
