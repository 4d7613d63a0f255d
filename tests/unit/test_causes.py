"""Every code has its words, and the page of codes is the table."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import dth
from dth import causes
from dth.errors import (
    BodyMismatch,
    ConnectFailed,
    ConnectionLost,
    DthError,
    ServerFault,
    StoreError,
    Throttled,
    TimedOut,
    TlsFailed,
)
from dth.transfer.gone import GONE
from dth.transfer.listed import UNTRUE
from dth.worker.breakdown import DEAD_LETTER

ROOT = Path(__file__).parents[2]


def descendants(cls: type[DthError]) -> Iterator[type[DthError]]:
    for child in cls.__subclasses__():
        yield child
        yield from descendants(child)


def codes_of_classes() -> dict[str, type[DthError]]:
    for module in pkgutil.walk_packages(dth.__path__, "dth."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {cls.code: cls for cls in descendants(DthError) if cls.__module__.startswith("dth.")}


def codes_in_calls() -> set[str]:
    """Literal codes that end entries without an error: third of an ObjectFailed, `code` of a Copied, fourth of an Ended."""
    places = {
        "ObjectFailed": (2, "error_code"),
        "Ended": (3, "error_code"),
        "Copied": (7, "code"),
        "Failure": (2, "code"),
    }
    found: set[str] = set()
    for path in Path(dth.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in places:
                at, name = places[node.func.id]
                values = [*node.args[at : at + 1], *(each.value for each in node.keywords if each.arg == name)]
                found |= {str(each.value) for each in values if isinstance(each, ast.Constant) and each.value}
    return found


def test_every_error_that_the_engine_can_raise_has_an_entry() -> None:
    known = codes_of_classes()
    assert len(known) > 40
    assert not sorted(set(known) - set(causes.ALL))


def test_every_literal_code_has_an_entry() -> None:
    literal = codes_in_calls() | {DEAD_LETTER, GONE, UNTRUE}
    assert not sorted(literal - set(causes.ALL))


def test_no_entry_is_left_of_a_code_that_is_gone() -> None:
    made_elsewhere = {"internal", "error", DEAD_LETTER, *causes.SKIPS}
    assert not sorted(set(causes.ALL) - set(codes_of_classes()) - codes_in_calls() - made_elsewhere)


def test_what_another_request_may_mend_is_retriable() -> None:
    for code, cls in codes_of_classes().items():
        if cls.retryable:
            assert causes.ALL[code].retriable, code


def test_every_entry_is_a_label_and_a_sentence() -> None:
    for code, cause in causes.ALL.items():
        assert cause.label[0].isupper(), code
        assert not cause.label.endswith("."), code
        assert cause.hint.endswith((".", "?")), code
        assert len(cause.label) <= 50, code


def test_a_code_of_another_version_has_words_too() -> None:
    assert "update" in causes.cause_of("invented_tomorrow").hint


def test_the_page_of_codes_is_the_table() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == causes.page(), "run python -m dth.causes"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Throttled("x"), "throttled"),
        (TimedOut("x"), "timed_out"),
        (ConnectionLost("x"), "reset"),
        (ConnectFailed("x"), "refused"),
        (TlsFailed("x"), "other"),
        (ServerFault("x"), "server_error"),
        (BodyMismatch("x"), "damaged"),
        (StoreError("x"), "other"),
    ],
)
def test_retries_have_one_of_the_named_causes(error: DthError, cause: str) -> None:
    assert causes.retry_cause(error) == cause
    assert cause in causes.RETRIES
