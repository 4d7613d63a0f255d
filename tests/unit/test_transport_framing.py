import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.transport.chunked import ChunkedDecoder
from dth.transport.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    Head,
    Malformed,
    body_length,
    keep_alive_seconds,
    parse_head,
    request_head,
)


def head(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode() + b"\r\n\r\n"


def test_a_head_is_read_with_lower_case_names_and_joined_repeats() -> None:
    parsed = parse_head(head('HTTP/1.1 206 Partial Content\nETag: "a b"\nX-A:1\nx-a: \t2 \nEmpty:'))
    assert parsed == Head(206, {"etag": '"a b"', "x-a": "1, 2", "empty": ""}, keep_alive=True, minor=1)


@pytest.mark.parametrize("line", ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 200 Very OK"])
def test_a_reason_may_be_missing_or_long(line: str) -> None:
    assert parse_head(head(line)).status == 200


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("HTTP/1.1 200 OK", True),
        ("HTTP/1.1 200 OK\nConnection: Close", False),
        ("HTTP/1.1 200 OK\nConnection: keep-alive, close", False),
        ("HTTP/1.1 200 OK\nConnection: upgrade", True),
        ("HTTP/1.0 200 OK", False),
        ("HTTP/1.0 200 OK\nConnection: Keep-Alive", True),
    ],
)
def test_the_head_says_whether_the_connection_stays(text: str, kept: bool) -> None:
    assert parse_head(head(text)).keep_alive is kept


BAD_HEADS = {
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/2 as text": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "signed status": b"HTTP/1.1 +20 OK\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "bare LF in a value": b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
    "CR CR LF": b"HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
    "escape in the reason": b"HTTP/1.1 200 \x1b[31m\r\n\r\n",
    "DEL in a value": b"HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a fold before any header": b"HTTP/1.1 200 OK\r\n\tc: d\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nAbc\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "a name that is no token": b"HTTP/1.1 200 OK\r\nA(b): c\r\n\r\n",
    "a name beyond ASCII": "HTTP/1.1 200 OK\r\nContent-Lengt\u212a: 5\r\n\r\n".encode(),
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"\r\n",
    "Content-Length twice, differing": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "Content-Length twice, equal": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
}


@pytest.mark.parametrize("raw", BAD_HEADS.values(), ids=BAD_HEADS.keys())
def test_a_head_that_is_not_well_formed_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_head(raw)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused_and_nothing_else(data: bytes) -> None:
    for raw in (data, b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"):
        try:
            parsed = parse_head(raw)
        except Malformed:
            continue
        assert not any(ch in name + value for name, value in parsed.headers.items() for ch in "\r\n\0")


@given(st.binary(min_size=1, max_size=50).filter(lambda b: min(b) > 0x20 and 0x7F not in b))
def test_the_bytes_of_a_value_survive_being_received_and_sent(value: bytes) -> None:
    received = parse_head(b"HTTP/1.1 200 OK\r\nx-amz-meta-a: " + value + b"\r\n\r\n").headers["x-amz-meta-a"]
    assert b"x-amz-meta-a: " + value + b"\r\n" in request_head("PUT", "/", ("x-amz-meta-a",), (received,), None)


@pytest.mark.parametrize(
    ("method", "status", "headers", "length"),
    [
        ("GET", 200, "content-length: 5", 5),
        ("GET", 200, "content-length: 000", 0),
        ("GET", 200, "transfer-encoding: Chunked", CHUNKED),
        ("GET", 200, "a: b", UNTIL_CLOSE),
        ("HEAD", 200, "content-length: 5", 0),
        ("HEAD", 200, "transfer-encoding: chunked", 0),
        ("GET", 204, "a: b", 0),
        ("GET", 304, "content-length: 5", 0),
    ],
)
def test_the_length_of_a_body_follows_from_method_status_and_headers(
    method: str, status: int, headers: str, length: int
) -> None:
    assert body_length(method, parse_head(head(f"HTTP/1.1 {status} x\n{headers}"))) == length


BAD_FRAMING = [
    "content-length: +5", "content-length: -5", "content-length: 5_0", "content-length: 5, 5", "content-length: 0x5",
    "content-length: 5 5", "content-length: ", "content-length: \u0665", "content-length: 9999999999999999999",
    "content-length: 5.0", "transfer-encoding: gzip", "transfer-encoding: gzip, chunked", "transfer-encoding: identity",
    "transfer-encoding: chunked, chunked", "transfer-encoding: xchunked", "transfer-encoding: ",
    "transfer-encoding: chunked\ncontent-length: 5", "transfer-encoding: chunked\ntransfer-encoding: chunked",
]  # fmt: skip


@pytest.mark.parametrize("headers", BAD_FRAMING)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_framing_that_two_readers_could_read_differently_is_refused(headers: str, method: str) -> None:
    with pytest.raises(Malformed):
        body_length(method, parse_head(head(f"HTTP/1.1 200 OK\n{headers}")))


def test_chunked_is_refused_from_an_http_1_0_server() -> None:
    with pytest.raises(Malformed):
        body_length("GET", parse_head(head("HTTP/1.0 200 OK\ntransfer-encoding: chunked")))


def test_a_request_is_written_as_given_with_its_length_last() -> None:
    raw = request_head("PUT", "/b/a%20b?x=1", ("host", "X-Meta"), ("h", "é"), 3)
    assert raw == "PUT /b/a%20b?x=1 HTTP/1.1\r\nhost: h\r\nX-Meta: é\r\ncontent-length: 3\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("method", "target", "name", "value"),
    [
        ("GET /x\r\nA:", "/", "a", "b"),
        ("GET", "/ HTTP/1.1\r\nHost: evil", "a", "b"),
        ("GET", "/a b", "a", "b"),
        ("GET", "/a\nb", "a", "b"),
        ("GET", "/é", "a", "b"),
        ("GET", "", "a", "b"),
        ("GET", "/", "a", "b\r\nEvil: yes"),
        ("GET", "/", "a", "b\nEvil: yes"),
        ("GET", "/", "a", "b\rEvil: yes"),
        ("GET", "/", "a", "b\0"),
        ("GET", "/", "a\r\nEvil: yes", "b"),
        ("GET", "/", "a:b", "c"),
        ("GET", "/", "", "c"),
        ("GET", "/", "a", "\ud83d"),
        ("GET", "/", "Content-Length", "5"),
        ("GET", "/", "transfer-encoding", "chunked"),
    ],
)
def test_nothing_is_sent_that_could_be_read_as_another_request(method: str, target: str, name: str, value: str) -> None:
    with pytest.raises(Malformed):
        request_head(method, target, (name,), (value,), None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("timeout=5, max=100", 5.0), ("Timeout=7", 7.0), ("max=3", None), ("timeout=x", None)]
)
def test_the_peers_own_idle_limit_is_read(text: str, seconds: float | None) -> None:
    assert keep_alive_seconds({"keep-alive": text}) == seconds


def decode(data: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedDecoder()
    content = rest = b""
    edges = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, stop in itertools.pairwise(edges):
        if decoder.done:
            rest += data[start:stop]
            continue
        more, after = decoder.feed(data[start:stop])
        content += more
        rest += after
    return content, rest, decoder.done


chunks = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([b"", b";a=b", b" ; q", b';x="1 2"'])))
trailers = st.lists(st.sampled_from([b"x-checksum: abc\r\n", b"A:\r\n"]), max_size=3)


@given(chunks, trailers, st.binary(max_size=10), st.lists(st.integers(0, 10_000)), st.booleans())
def test_a_chunked_body_reads_the_same_however_it_is_cut(
    parts: list[tuple[bytes, bytes]], ends: list[bytes], after: bytes, cuts: list[int], upper: bool
) -> None:
    body = b"".join(
        (b"%X" if upper else b"%x") % len(part) + extension + b"\r\n" + part + b"\r\n" for part, extension in parts
    )
    whole = body + b"0\r\n" + b"".join(ends) + b"\r\n" + after
    assert decode(whole, cuts) == (b"".join(part for part, _ in parts), after, True)


@given(chunks, st.integers(1, 10_000), st.lists(st.integers(0, 10_000)))
def test_a_chunked_body_that_is_cut_short_is_never_done(
    parts: list[tuple[bytes, bytes]], missing: int, cuts: list[int]
) -> None:
    whole = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part, _ in parts) + b"0\r\n\r\n"
    assert not decode(whole[: max(0, len(whole) - missing)], cuts)[2]


BAD_CHUNKS = {
    "no digits": b"\r\nabc\r\n",
    "signed": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "trailing space": b"5 \r\nhello\r\n0\r\n\r\n",
    "overflow": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"5g\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;\0\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "chunk shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "chunk ended by LF": b"5\r\nhello\n0\r\n\r\n",
    "chunk ended by a bare CR": b"5\r\nhello\rx0\r\n\r\n",
    "extension without end": b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "size line without end": b"0" * 70000,
    "folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "trailer without a colon": b"0\r\nabc\r\n\r\n",
    "NUL in a trailer": b"0\r\na: \0\r\n\r\n",
    "bare LF ends a trailer": b"0\r\na: b\n\r\n",
    "too many trailers": b"0\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    "trailers too long": b"0\r\n" + (b"a: " + b"b" * 5000 + b"\r\n") * 20 + b"\r\n",
    "one endless trailer": b"0\r\na: " + b"b" * 70000,
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_chunked_framing_that_does_not_add_up_is_refused(body: bytes, step: int) -> None:
    with pytest.raises(Malformed):
        decode(body, list(range(0, len(body), step)))
