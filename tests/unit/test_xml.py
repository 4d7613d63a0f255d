"""Small XML answers are untrusted."""

from __future__ import annotations

import pytest

from dth.stores.answers import read_refusal
from dth.stores.xml import XmlInvalid, parse, unquoted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain",
        b"<a><b></a>",
        b"<a/><b/>",
        b"<a>&undefined;</a>",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<a>" * 100 + b"</a>" * 100,
        b"<a>\x01</a>",
    ],
)
def test_what_no_store_may_send_is_refused(data: bytes) -> None:
    with pytest.raises(XmlInvalid):
        parse(data)


def test_names_lose_their_prefix_and_texts_are_whole() -> None:
    root = parse(
        b'<s:R xmlns:s="x"><s:A>one &amp; <![CDATA[<two>]]><!-- c --> three</s:A><A>second</A><B>True</B></s:R>'
    )
    assert root.name == "R"
    assert root.get("A") == "one & <two> three"
    assert [item.text for item in root.all("A")] == ["one & <two> three", "second"]
    assert root.truth("B")
    assert root.get("C", "none") == "none"


@pytest.mark.parametrize(("said", "bare"), [('"e"', "e"), ("e", "e"), ('W/"e"', "e"), (' "e-2"\n', "e-2"), ("", "")])
def test_etags_are_bare(said: str, bare: str) -> None:
    assert unquoted(said) == bare


def test_an_unreadable_error_says_nothing_and_does_not_break() -> None:
    for body in (b"", b"<html>", b"{}", b"\xff\xfe", b"<Error>" * 3):
        assert read_refusal(500, {"retry-after": "soon"}, body).code == ""


def test_retry_after_is_seconds_or_a_date() -> None:
    assert read_refusal(503, {"retry-after": "7"}, b"").retry_after == 7
    past = read_refusal(503, {"retry-after": "Fri, 24 May 2013 00:00:00 GMT"}, b"")
    assert past.retry_after == 0
