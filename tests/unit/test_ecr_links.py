"""The Link header by its grammar. What cannot be read is an error, never "no next page"."""

from __future__ import annotations

import pytest

from dth.ecr.links import LinkUnreadable, next_reference


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        (' , , </v2/a?last=q>; rel="next",', "/v2/a?last=q"),
        ('<?last=a,b;c%2C>; rel="next"', "?last=a,b;c%2C"),
        ("<x>;rel=nExT", "x"),
        ('<x> ; ReL = "prev  NEXT"', "x"),
        ('<a>; rel="first", <b>; title="next, really \\"<c>\\""; rel="next"; rel="last"', "b"),
        ("<a>; rel=last; rel=next", None),
        ('<a>; rel="nextish"; title="next"', None),
        ('<style.css>; rel=preload; crossorigin, <b>; rel="next"; type=text/html', "b"),
        ('<b>; rel="next", <b>; rel="next"', "b"),
    ],
)
def test_the_next_page_is_found_wherever_the_grammar_allows_it(header: str, expected: str | None) -> None:
    assert next_reference(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        '/v2/a?last=q; rel="next"',
        'https://registry.example/v2/a; rel="next"',
        '<a; rel="next"',
        '<a>; rel="next',
        '<a>, b>; rel="next"',
        '<a>; rel="first" <b>; rel="next"',
        '<a>; rel="next", <b>; rel="next"',
        '<a>; rel="next"; anchor="/elsewhere"',
        "next",
    ],
)
def test_a_header_that_cannot_be_read_is_no_end(header: str) -> None:
    with pytest.raises(LinkUnreadable):
        next_reference(header)
