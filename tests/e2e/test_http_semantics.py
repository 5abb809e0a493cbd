"""/stream by the letter of RFC 9110: each case names the section that it is of."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterable

import pytest

from harness import waiting
from harness.mount import Magnetfs
from harness.semantics import Case, Subject, exchange, facts, part_of_body
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker, bencode
from harness.web import stream_target

N = 70_001  # bytes of film.mp4
ALL = ((0, N - 1),)
STREAMS = 250  # at a time; the sidecar has places for a few more
Fields = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def torrent(torrents: TorrentMaker) -> Torrent:
    files = [("film.mp4", N), ("empty.mp4", 0), ("one.mp4", 1), ("page.html", 3000)]
    return torrents.multi("semantics", files, seed=1110, piece_length=16 * KIB)


@pytest.fixture
def subject(fs: Magnetfs, seeder: Seeder, torrent: Torrent) -> Subject:
    fs.add_torrent(torrent, seeder.seed(torrent))
    assert fs.web
    return Subject(fs.web, torrent)


def run(subject: Subject, cases: Iterable[Case]) -> None:
    """All of them, so that one which fails hides no other."""
    wrong = []
    about = {name: facts(subject, name) for name in {case.file for case in cases}}
    for case in cases:
        try:
            subject.check(case, about[case.file])
        except AssertionError as problem:
            wrong.append(f"{case.name}: {problem}")
    assert not wrong, "\n".join(wrong)


# -- ranges ----------------------------------------------------------------------------------------


def ranged(section: str, why: str, value: str, *parts: tuple[int, int], **more: str) -> Case:
    """Answered with these parts; without any: 416."""
    return Case(section, why, (("Range", value),), 206 if parts else 416, parts, **more)


def ignored(section: str, why: str, value: str, **more: str) -> Case:
    return Case(section, why, (("Range", value),), 200, **more)


def spread(count: int) -> list[tuple[int, int]]:
    return [(20 * number, 20 * number + 9) for number in range(count)]


def spelt(parts: Iterable[tuple[int, int]]) -> str:
    return "bytes=" + ",".join(f"{first}-{last}" for first, last in parts)


RANGES = [
    ranged("14.1.2", "the first byte", "bytes=0-0", (0, 0)),
    ranged("14.1.2", "the first thousand", "bytes=0-999", (0, 999)),
    ranged("14.1.2", "in the middle, over pieces", "bytes=16000-40000", (16000, 40000)),
    ranged("14.1.2", "the last byte", f"bytes={N - 1}-{N - 1}", (N - 1, N - 1)),
    ranged("14.1.2", "all, closed", f"bytes=0-{N - 1}", *ALL),
    ranged("14.1.2", "all, open: a player's first request", "bytes=0-", *ALL),
    ranged("14.1.2", "open", "bytes=500-", (500, N - 1)),
    ranged("14.1.2", "open, the last byte", f"bytes={N - 1}-", (N - 1, N - 1)),
    ranged("14.1.2", "last-pos is the length", f"bytes=5-{N}", (5, N - 1)),
    ranged("14.1.2", "last-pos behind the end", "bytes=69000-99999999", (69000, N - 1)),
    ranged("14.1.2", "last-pos of 64 bits", "bytes=0-18446744073709551615", *ALL),
    ranged("14.1.2", "last-pos of 65 bits", "bytes=0-18446744073709551616", *ALL),
    ranged("14.1.2", "last-pos of 40 digits", "bytes=7-" + "9" * 40, (7, N - 1)),
    ranged("14.1.2", "suffix of one", "bytes=-1", (N - 1, N - 1)),
    ranged("14.1.2", "suffix", "bytes=-1000", (N - 1000, N - 1)),
    ranged("14.1.2", "suffix of all", f"bytes=-{N}", *ALL),
    ranged("14.1.2", "suffix longer than the file", f"bytes=-{N + 1}", *ALL),
    ranged("14.1.2", "suffix of 40 digits", "bytes=-" + "9" * 40, *ALL),
    ranged("14.1.2", "leading zeros", "bytes=0000-000009", (0, 9)),
    ranged("14.1", "units are case-insensitive", "Bytes=0-9", (0, 9)),
    ranged("14.1", "in capitals", "BYTES=0-9", (0, 9)),
    ranged("5.6.1", "blanks around the range", "bytes= 0-9 ", (0, 9)),
    ranged("5.6.1", "empty elements before", "bytes=,,0-9", (0, 9)),
    ranged("5.6.1", "empty elements behind", "bytes=0-9,, ,", (0, 9)),
    ranged("5.5", "blanks around the value", "  bytes=0-9  ", (0, 9)),
    ranged("14.1.2", "one byte of one", "bytes=0-0", (0, 0), file="one.mp4"),
    ranged("14.1.2", "more than one of one", "bytes=0-9", (0, 0), file="one.mp4"),
    ranged("14.1.2", "suffix of one", "bytes=-1", (0, 0), file="one.mp4"),
    ranged("14.2", "of a page, too", "bytes=10-19", (10, 19), file="page.html"),
    ranged("15.5.17", "first-pos is the length", f"bytes={N}-"),
    ranged("15.5.17", "first-pos behind it", f"bytes={N + 1}-"),
    ranged("15.5.17", "both behind it", "bytes=2000000-3000000"),
    ranged("15.5.17", "first-pos of 63 bits", "bytes=9223372036854775807-"),
    ranged("15.5.17", "first-pos of 64 bits", "bytes=18446744073709551615-"),
    ranged("15.5.17", "first-pos of 40 digits", f"bytes={'9' * 40}-"),
    ranged("15.5.17", "suffix of nothing", "bytes=-0"),
    ranged("15.5.17", "suffix of nothing, spelt long", "bytes=-000"),
    ranged("15.5.17", "the second byte of one", "bytes=1-", file="one.mp4"),
    ranged("15.5.17", "an empty file, open", "bytes=0-", file="empty.mp4"),
    ranged("15.5.17", "an empty file, its first byte", "bytes=0-0", file="empty.mp4"),
    ranged("15.5.17", "an empty file, suffix of nothing", "bytes=-0", file="empty.mp4"),
    ignored("14.1.2", "a suffix of an empty file is all of it", "bytes=-1", file="empty.mp4"),
    ignored("14.1.2", "one suffix of several", "bytes=0-0,-1", file="empty.mp4"),
    ignored("14.1.1", "last-pos before first-pos", "bytes=5-2"),
    ignored("14.1.1", "last-pos before first-pos, behind the end", "bytes=900000-800000"),
    ignored("14.1.1", "no dash", "bytes=10"),
    ignored("14.1.1", "a dash alone", "bytes=-"),
    ignored("14.1.1", "nothing", "bytes="),
    ignored("14.1.1", "no set", "bytes"),
    ignored("14.1.1", "commas alone", "bytes=,,"),
    ignored("14.1.1", "no unit", "0-9"),
    ignored("14.1.1", "no unit but a sign", "=0-9"),
    ignored("14.1.1", "letters", "bytes=a-b"),
    ignored("14.1.1", "hex", "bytes=0x0-0x9"),
    ignored("14.1.1", "a letter behind", "bytes=0-9x"),
    ignored("14.1.1", "blanks inside", "bytes=0 - 9"),
    ignored("14.1.1", "a blank before the sign", "bytes =0-9"),
    ignored("14.1.1", "a plus", "bytes=+0-9"),
    ignored("14.1.1", "two dashes", "bytes=0--9"),
    ignored("14.1.1", "a suffix with two", "bytes=--9"),
    ignored("14.1.1", "three numbers", "bytes=0-9-19"),
    ignored("14.1.1", "a fraction", "bytes=0.5-9"),
    ignored("14.1.1", "a colon", "bytes: 0-9"),
    ignored("14.1.1", "semicolons", "bytes=0-9;20-29"),
    ignored("14.1.1", "one bad among good", "bytes=0-9,x,20-29"),
    ignored("14.1.1", "the last one bad", "bytes=0-9,20-19"),
    ignored("14.1.1", "the unit again", "bytes=0-9,bytes=20-29"),
    ignored("14.2", "an unknown unit", "items=0-9"),
    ignored("14.2", "an unknown unit, as it likes", "seconds=1.5/x"),
    ignored("14.2", "none", "none"),
    ignored("14.2", "empty", ""),
    Case("14.2", "no list, so not twice", (("Range", "bytes=0-9"), ("Range", "bytes=20-29")), 200),
    Case("14.2", "defined for GET alone", (("Range", "bytes=0-9"),), 200, method="HEAD"),
    Case("14.2", "so a HEAD can't miss", (("Range", f"bytes={N}-"),), 200, method="HEAD"),
    Case("9.3.1", "all of it", (), 200),
    Case("9.3.1", "all of nothing", (), 200, file="empty.mp4"),
    Case("9.3.1", "all of one", (), 200, file="one.mp4"),
    Case("9.3.2", "HEAD", (), 200, method="HEAD"),
    Case("9.3.2", "HEAD of nothing", (), 200, method="HEAD", file="empty.mp4"),
]

SEVERAL = [
    ranged("14.6", "two", "bytes=0-9,20-29", (0, 9), (20, 29)),
    ranged("14.6", "three", "bytes=0-9,20-29,40-49", (0, 9), (20, 29), (40, 49)),
    ranged("14.1.2", "head and tail", "bytes=0-99,-100", (0, 99), (N - 100, N - 1)),
    ranged("14.1.2", "a byte and the rest", "bytes=0-0,2-", (0, 0), (2, N - 1)),
    ranged("14.1.2", "first and last byte", "bytes=0-0,-1", (0, 0), (N - 1, N - 1)),
    ranged("15.3.7.2", "in the order asked for", "bytes=-10,0-9", (N - 10, N - 1), (0, 9)),
    ranged("15.3.7.2", "a gap of a byte stays", "bytes=0-9,11-19", (0, 9), (11, 19)),
    ranged("15.3.7.2", "overlapping are one", "bytes=0-99,50-149", (0, 149)),
    ranged("15.3.7.2", "touching are one", "bytes=0-99,100-199", (0, 199)),
    ranged("15.3.7.2", "touching, backwards", "bytes=100-199,0-99", (0, 199)),
    ranged("15.3.7.2", "the same twice", "bytes=5-9,5-9", (5, 9)),
    ranged("15.3.7.2", "one inside", "bytes=0-99,10-19", (0, 99)),
    ranged("15.3.7.2", "joined by a third", "bytes=0-9,20-29,5-24", (0, 29)),
    ranged("15.3.7.2", "some joined", "bytes=0-9,500-509,5-19", (0, 19), (500, 509)),
    ranged("15.3.7.2", "all twice", "bytes=0-,0-", *ALL),
    ranged("15.3.7.2", "all and its tail", "bytes=0-,-5", *ALL),
    ranged("14.1.2", "what can't be had is left out", f"bytes=0-9,{N}-,20-29", (0, 9), (20, 29)),
    ranged("15.3.7.1", "one that can be had is a part", f"bytes={N}-,5-9", (5, 9)),
    ranged("15.3.7.1", "beside a suffix of nothing", "bytes=-0,5-9", (5, 9)),
    ranged("15.5.17", "none can be had", f"bytes={N}-,-0,{N + 5}-{N + 9}"),
    ranged("14.1.2", "the end is cut in each", "bytes=0-9,69990-99999", (0, 9), (69990, N - 1)),
    ranged("5.6.1", "blanks and empty elements", "bytes=0-9 ,,  20-29,", (0, 9), (20, 29)),
    ranged("14.6", "of a page", "bytes=0-9,20-29", (0, 9), (20, 29), file="page.html"),
    ranged("17.15", "sixteen", spelt(spread(16)), *spread(16)),
    ranged("17.15", "more than sixteen", spelt(spread(17))),
    ranged("17.15", "many", spelt(spread(1000))),
    ranged("17.15", "many that are one", spelt((n, n + 5) for n in range(2000)), (0, 2004)),
    ranged("17.15", "a byte many times", "bytes=" + "0-0," * 5000, (0, 0)),
    ranged("17.15", "all many times", "bytes=" + ",".join(["0-"] * 5000), *ALL),
    ranged("17.15", "many behind the end", "bytes=5-9," + f"{N}-," * 2000, (5, 9)),
]


def test_ranges(subject: Subject) -> None:
    run(subject, RANGES)


def test_several_ranges(subject: Subject) -> None:
    run(subject, SEVERAL)


# -- conditions ------------------------------------------------------------------------------------


def given(section: str, why: str, status: int, *fields: tuple[str, str], **more: str) -> Case:
    return Case(section, why, fields, status, **more)


def match(*values: str) -> Fields:
    return tuple(("If-Match", value) for value in values)


def none_match(*values: str) -> Fields:
    return tuple(("If-None-Match", value) for value in values)


def since(*values: str) -> Fields:
    return tuple(("If-Modified-Since", value) for value in values)


def unmodified(*values: str) -> Fields:
    return tuple(("If-Unmodified-Since", value) for value in values)


CONDITIONS = [
    given("13.1.1", "the tag", 200, *match("{etag}")),
    given("13.1.1", "another", 412, *match('"other"')),
    given("13.1.1", "any", 200, *match("*")),
    given("13.1.1", "compared strongly", 412, *match("W/{etag}")),
    given("13.1.1", "in a list", 200, *match('"a", {etag}, "b"')),
    given("13.1.1", "not in the list", 412, *match('"a", "b"')),
    given("13.1.1", "weak beside strong", 200, *match("W/{etag}, {etag}")),
    given("5.3", "in the second of two lines", 200, *match('"a"', "{etag}")),
    given("5.3", "in the first of three", 200, *match("{etag}", '"a"', '"b"')),
    given("5.3", "in none of two lines", 412, *match('"a"', '"b"')),
    given("8.8.3", "without quotes", 412, *match("{bare}")),
    given("13.1.1", "an empty list", 412, *match("")),
    given("13.1.1", "HEAD", 412, *match('"other"'), method="HEAD"),
    given("13.1.1", "an empty file is one", 200, *match("*"), file="empty.mp4"),
    given("13.1.2", "the tag", 304, *none_match("{etag}")),
    given("13.1.2", "another", 200, *none_match('"other"')),
    given("13.1.2", "any", 304, *none_match("*")),
    given("13.1.2", "any, with blanks", 304, *none_match("  *  ")),
    given("13.1.2", "compared weakly", 304, *none_match("W/{etag}")),
    given("13.1.2", "in a list", 304, *none_match('"a", W/"b", {etag}')),
    given("13.1.2", "weak in a list", 304, *none_match('"a",W/{etag}')),
    given("13.1.2", "not in the list", 200, *none_match('"a", W/"b"')),
    given("5.3", "in the second of two lines", 304, *none_match('"a"', "{etag}")),
    given("5.3", "in the first of two lines", 304, *none_match("{etag}", '"a"')),
    given("5.3", "in none of three lines", 200, *none_match('"a"', '"b"', '"c"')),
    given("5.6.1", "empty elements", 304, *none_match(", ,{etag},,")),
    given("5.6.1", "an empty line beside", 304, *none_match("", "{etag}")),
    given("8.8.3", "a comma in another tag", 304, *none_match('"a,b", {etag}')),
    given("8.8.3", "another tag with it inside", 200, *none_match('"{bare}-"')),
    given("8.8.3", "case-sensitive", 200, *none_match("{upper}")),
    given("8.8.3", "W is, too", 200, *none_match("w/{etag}")),
    given("8.8.3", "without quotes", 200, *none_match("{bare}")),
    given("8.8.3", "an open quote", 200, *none_match('"{bare}')),
    given("8.8.3", "a blank behind W/", 200, *none_match("W/ {etag}")),
    given("13.1.2", "* in a list is none", 200, *none_match('*, "a"')),
    given("13.1.2", "an empty list", 200, *none_match("")),
    given("13.1.2", "HEAD", 304, *none_match("{etag}"), method="HEAD"),
    given("13.1.2", "HEAD, another", 200, *none_match('"other"'), method="HEAD"),
    given("13.1.2", "an empty file", 304, *none_match("{etag}"), file="empty.mp4"),
    given("13.1.2", "a page", 304, *none_match("{etag}"), file="page.html"),
    given("13.1.3", "the same", 304, *since("{date}")),
    given("13.1.3", "a second later", 304, *since("{later}")),
    given("13.1.3", "a second earlier", 200, *since("{older}")),
    given("5.6.7", "in the form of RFC 850", 304, *since("{rfc850}")),
    given("5.6.7", "in that form, earlier", 200, *since("{rfc850_older}")),
    given("5.6.7", "in the form of asctime", 304, *since("{asctime}")),
    given("13.1.3", "far ahead", 304, *since("Fri, 31 Dec 9999 23:59:59 GMT")),
    given("13.1.3", "long ago", 200, *since("Thu, 01 Jan 1970 00:00:00 GMT")),
    given("13.1.3", "no date", 200, *since("yesterday")),
    given("13.1.3", "a number", 200, *since("{number}")),
    given("13.1.3", "ISO 8601", 200, *since("{iso}")),
    given("5.6.7", "another zone", 200, *since("{local}")),
    given("5.6.7", "UTC is not GMT", 200, *since("{zone}")),
    given("13.1.3", "a parameter behind", 200, *since("{date}; length=70001")),
    given("13.1.3", "empty", 200, *since("")),
    given("13.1.3", "no such day", 200, *since("Tue, 31 Feb 2090 10:00:00 GMT")),
    given("13.1.3", "more than one", 200, *since("{date}", "{date}")),
    given("13.1.3", "HEAD", 304, *since("{date}"), method="HEAD"),
    given("13.1.4", "the same", 200, *unmodified("{date}")),
    given("13.1.4", "a second later", 200, *unmodified("{later}")),
    given("13.1.4", "a second earlier", 412, *unmodified("{older}")),
    given("5.6.7", "in the form of RFC 850", 412, *unmodified("{rfc850_older}")),
    given("5.6.7", "in the form of asctime", 200, *unmodified("{asctime}")),
    given("13.1.4", "long ago", 412, *unmodified("Thu, 01 Jan 1970 00:00:00 GMT")),
    given("13.1.4", "no date", 200, *unmodified("0")),
    given("13.1.4", "more than one", 200, *unmodified("{older}", "{older}")),
    given("13.1.4", "HEAD", 412, *unmodified("{older}"), method="HEAD"),
    given("13.2.2", "If-Match before If-Unmodified-Since", 200, *match("*"), *unmodified("{older}")),
    given("13.2.2", "and where it fails", 412, *match('"x"'), *unmodified("{date}")),
    given("13.2.2", "If-None-Match before -Since", 200, *none_match('"x"'), *since("{date}")),
    given("13.2.2", "and where it fails", 304, *none_match("{etag}"), *since("{older}")),
    given("13.2.2", "412 before 304", 412, *match('"x"'), *none_match("{etag}")),
    given("13.2.2", "in the other order", 412, *none_match("{etag}"), *match('"x"')),
    given("13.2.2", "304 after If-Match holds", 304, *match("{etag}"), *none_match("{etag}")),
    given("13.2.2", "dates: 412 before 304", 412, *unmodified("{older}"), *since("{date}")),
    given("13.2.2", "dates: 304 after", 304, *unmodified("{date}"), *since("{date}")),
    given("13.2.2", "If-Match, then a date", 304, *match("{etag}"), *since("{date}")),
    given("13.2.2", "all of them hold", 200, *match("*"), *none_match('"x"'), *since("{date}")),
    given("13.2.1", "no file, no condition", 404, *match('"x"'), file="none.mp4"),
    given("13.2.1", "nor a 304 of it", 404, *none_match("*"), file="none.mp4"),
]


def with_range(
    section: str, why: str, status: int, *fields: tuple[str, str], value: str = "bytes=5-9"
) -> Case:
    parts = ((5, 9),) if status == 206 else ()
    return Case(section, why, (("Range", value), *fields), status, parts)


def if_range(*values: str) -> Fields:
    return tuple(("If-Range", value) for value in values)


CONDITIONAL_RANGES = [
    with_range("13.1.5", "the tag", 206, *if_range("{etag}")),
    with_range("13.1.5", "another: all of it", 200, *if_range('"other"')),
    with_range("13.1.5", "a weak one", 200, *if_range("W/{etag}")),
    with_range("13.1.5", "no list", 200, *if_range('{etag}, "a"')),
    with_range("13.1.5", "not any", 200, *if_range("*")),
    with_range("13.1.5", "without quotes", 200, *if_range("{bare}")),
    with_range("13.1.5", "twice", 200, *if_range("{etag}", "{etag}")),
    with_range("13.1.5", "the date", 206, *if_range("{date}")),
    with_range("13.1.5", "the date in the form of RFC 850", 206, *if_range("{rfc850}")),
    with_range("13.1.5", "the date in that of asctime", 206, *if_range("{asctime}")),
    with_range("13.1.5", "a later date", 200, *if_range("{later}")),
    with_range("13.1.5", "an earlier date", 200, *if_range("{older}")),
    with_range("13.1.5", "no date", 200, *if_range("yesterday")),
    with_range("13.1.5", "empty", 200, *if_range("")),
    with_range("14.2", "nothing to miss", 200, *if_range('"other"'), value=f"bytes={N}-"),
    with_range("14.2", "the range is missed", 416, *if_range("{etag}"), value=f"bytes={N}-"),
    with_range("14.2", "nonsense is still ignored", 200, *if_range("{etag}"), value="bytes=x"),
    Case("13.1.5", "without a Range", if_range("{etag}"), 200),
    Case("13.1.5", "another without a Range", if_range('"other"'), 200),
    with_range("14.2", "304 before 206", 304, *none_match("{etag}")),
    with_range("14.2", "304 before 416", 304, *none_match("{etag}"), value=f"bytes={N}-"),
    with_range("14.2", "412 before 206", 412, *match('"other"')),
    with_range("14.2", "412 before 416", 412, *match('"other"'), value=f"bytes={N}-"),
    with_range("14.2", "304 by its date", 304, *since("{date}")),
    with_range("14.2", "412 by its date", 412, *unmodified("{older}")),
    with_range("13.2.2", "conditions hold, then the range", 206, *match("{etag}")),
    with_range("13.2.2", "by date, too", 206, *unmodified("{date}"), *since("{older}")),
    with_range("13.2.2", "304 before If-Range", 304, *none_match("{etag}"), *if_range('"x"')),
    with_range("13.2.2", "If-Range at last", 200, *match("*"), *if_range('"x"')),
    Case(
        "13.1.5",
        "several ranges",
        (("Range", "bytes=0-4,10-14"), *if_range("{etag}")),
        206,
        ((0, 4), (10, 14)),
    ),
    Case("13.1.5", "several, of another", (("Range", "bytes=0-4,9-"), *if_range('"x"')), 200),
]


def test_conditions(subject: Subject) -> None:
    subject.whole["none.mp4"] = subject.known("film.mp4")
    run(subject, CONDITIONS)


def test_conditional_ranges(subject: Subject) -> None:
    run(subject, CONDITIONAL_RANGES)


def test_there_are_enough_cases() -> None:
    cases = [*RANGES, *SEVERAL, *CONDITIONS, *CONDITIONAL_RANGES]
    assert len(cases) >= 150
    assert len({case.name for case in cases}) == len(cases)


# -- without a piece -------------------------------------------------------------------------------

BIG = 6 << 30  # beyond 32 bits


@pytest.fixture(scope="module")
def big(torrents: TorrentMaker) -> bytes:
    """The metainfo of 6 GiB that nobody has."""
    piece = 16 * MIB
    pieces = b"".join(number.to_bytes(20, "big") for number in range(BIG // piece))
    info = {"name": "big.mkv", "length": BIG, "piece length": piece, "pieces": pieces}
    return bencode({"info": info})


def head_of(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and fields; what follows is not read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    line, *fields = head.decode().strip().split("\r\n")
    return int(line.split()[1]), {
        name.lower(): value for name, value in (field.split(": ", 1) for field in fields)
    }


def test_what_needs_no_piece_asks_for_none_and_counts_beyond_32_bits(
    fs: Magnetfs, big: bytes
) -> None:
    assert fs.web
    info_hash = fs.add(big)[0]["infoHash"]
    target = f"/stream/{info_hash}/big.mkv"

    def ask(method: str, **fields: str) -> tuple[int, dict[str, str]]:
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{fs.web.port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        with fs.web.raw("\n".join([*lines, "", ""])) as connection:
            connection.settimeout(5)
            return head_of(connection)

    status, whole = ask("HEAD")
    assert (status, whole["content-length"]) == (200, str(BIG))
    status, fields = ask("GET", Range=f"bytes={BIG}-")
    assert (status, fields["content-range"]) == (416, f"bytes */{BIG}")
    assert ask("GET", If_None_Match=whole["etag"])[0] == 304
    assert ask("GET", If_Modified_Since=whole["last-modified"])[0] == 304
    assert ask("GET", If_Match='"other"')[0] == 412
    assert ask("HEAD", If_Match='"other"')[0] == 412
    session = fs.status()
    assert session["parkedReads"] == 0
    torrent = fs.torrent(info_hash)
    assert (torrent["readers"], torrent["haveBytes"]) == (0, 0)

    # Heads come before the first piece; their bodies would wait for it.
    for value, expected in (
        ("bytes=5000000000-", (5_000_000_000, BIG - 1)),
        ("bytes=-10", (BIG - 10, BIG - 1)),
        ("bytes=4294967295-4294967296", (4_294_967_295, 4_294_967_296)),
        ("bytes=0-", (0, BIG - 1)),
    ):
        status, fields = ask("GET", Range=value)
        first, last = expected
        assert (status, fields["content-range"]) == (206, f"bytes {first}-{last}/{BIG}"), value
        assert fields["content-length"] == str(last - first + 1), value
    status, fields = ask("GET", Range="bytes=0-0,2-")
    boundary = fields["content-type"].partition("boundary=")[2]
    frame = (
        f"--{boundary}\r\nContent-Type: video/x-matroska\r\nContent-Range: bytes 0-0/{BIG}\r\n\r\n"
        f"\r\n--{boundary}\r\nContent-Type: video/x-matroska\r\n"
        f"Content-Range: bytes 2-{BIG - 1}/{BIG}\r\n\r\n\r\n--{boundary}--\r\n"
    )
    assert (status, fields["content-length"]) == (206, str(BIG - 1 + len(frame)))


def test_head_and_conditions_send_for_nothing(
    fs: Magnetfs, seeder: Seeder, torrent: Torrent
) -> None:
    fs.add_torrent(torrent, seeder.seed(torrent))
    assert fs.web
    target = stream_target(torrent, "film.mp4")
    head = fs.web.request("HEAD", target)
    tag = {"If-None-Match": head.headers["ETag"]}
    assert fs.web.request("GET", target, tag).status == 304
    assert fs.web.request("GET", target, {"If-Match": '"x"'}).status == 412
    assert fs.web.range(target, f"bytes={N}-").status == 416
    assert fs.web.request("HEAD", target, {"Range": "bytes=0-9"}).status == 200
    assert seeder.sent(torrent) == 0
    assert fs.torrent(torrent.info_hash)["haveBytes"] == 0
    assert fs.web.get(target).status == 200
    assert seeder.sent(torrent) >= N, "else it would have shown nothing"


# -- how bytes flow --------------------------------------------------------------------------------


def test_the_head_comes_before_the_first_piece(fs: Magnetfs, torrents: TorrentMaker) -> None:
    lonely = torrents.single("lonely.mkv", 4 * MIB, seed=1111)
    fs.add(lonely.metainfo)
    assert fs.web
    target = stream_target(lonely, lonely.name)
    with fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n") as connection:
        connection.settimeout(1)
        status, fields = head_of(connection)
        assert (status, fields["content-length"]) == (200, str(lonely.length))
        assert fields["x-accel-buffering"] == "no"
        waiting.until(
            "its reader waits", lambda: fs.torrent(lonely.info_hash)["readers"] == 1, timeout=2
        )


def test_without_room_for_a_piece_the_head_says_so(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    piece = 16 * MIB
    fs = magnetfs("--cache-size", str(24 * MIB), "--min-free", "1M", allow=["cache"])
    large = torrents.single("large.mkv", 3 * piece, seed=1112, piece_length=piece)
    fs.add_torrent(large, seeder.seed(large))
    assert fs.web
    target = stream_target(large, large.name)
    assert fs.web.request("HEAD", target).status == 200
    for fields in ({}, {"Range": "bytes=5-"}, {"Range": "bytes=0-0,-1"}):
        fs.web.request("GET", target, fields).problem(507)


def test_an_end_that_does_not_come_is_no_end(
    magnetfs: Callable[..., Magnetfs], seeder: Seeder, torrents: TorrentMaker
) -> None:
    """A body is cut where the swarm's bytes end: never padded, never said to be whole."""
    fs = magnetfs("--read-timeout", "3", allow=["ended early"])
    film = torrents.single("cut.mkv", 8 * MIB, seed=1113)
    fs.add_torrent(film, seeder.seed(film))
    assert fs.web
    target = stream_target(film, film.name)
    assert len(fs.web.range(target, f"bytes=0-{MIB - 1}").body) == MIB
    seeder.close()
    with fs.web.raw(f"GET {target} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n") as connection:
        connection.settimeout(10)
        _, fields = head_of(connection)
        assert fields["content-length"] == str(film.length)
        got = part_of_body(connection, MIB)
        fs.remove(film.info_hash)
        got += part_of_body(connection, film.length)
    assert MIB <= len(got) < film.length
    assert got == film.read(film.name, 0, len(got))


def test_streams_that_wait_hold_no_memory_for_bytes(fs: Magnetfs, torrents: TorrentMaker) -> None:
    lonely = torrents.single("lonely.mkv", 4 * MIB, seed=1111)
    fs.add(lonely.metainfo)
    assert fs.web
    sidecar = fs.sidecar()
    assert sidecar

    def resident() -> int:
        status = Path(f"/proc/{sidecar}/status").read_text()
        return next(
            int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmRSS:")
        )

    before = resident()
    head = f"GET {stream_target(lonely, lonely.name)} HTTP/1.1\nHost: 127.0.0.1:{fs.web.port}\n\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(fs.web.raw(head)) for _ in range(STREAMS)]
        for client in clients:
            client.settimeout(10)
            assert head_of(client)[0] == 200
        waiting.until("all wait", lambda: fs.torrent(lonely.info_hash)["readers"] == STREAMS)
        grown = resident() - before
        assert grown <= STREAMS * 64 * KIB, f"{grown / STREAMS / KIB:.0f} KiB for each"


def test_names_are_given_to_what_saves_a_file(
    fs: Magnetfs, seeder: Seeder, torrents: TorrentMaker
) -> None:
    names = {
        "plain.mkv": 'inline; filename="plain.mkv"',
        "d/in a folder.mkv": 'inline; filename="in a folder.mkv"',
        "caf\u00e9.mkv": "inline; filename=\"caf_.mkv\"; filename*=UTF-8''caf%C3%A9.mkv",
        "q\"\\.mkv": "inline; filename=\"q__.mkv\"; filename*=UTF-8''q%22%5C.mkv",
        "page.html": 'attachment; filename="page.html"',
        "list.xspf": 'attachment; filename="list.xspf"',
        "big.webm": 'inline; filename="big.webm"',
    }
    files = [(name, 900_000 if name == "big.webm" else 10) for name in names]
    torrent = torrents.multi("saved", files, seed=1114, piece_length=16 * KIB)
    fs.add_torrent(torrent, seeder.seed(torrent))
    assert fs.web
    for name, expected in names.items():
        head = fs.web.request("HEAD", stream_target(torrent, name))
        assert head.headers["Content-Disposition"] == expected, name
        sandboxed = head.headers["Content-Security-Policy"] == "sandbox"
        assert sandboxed == expected.startswith("attachment"), name
    largest = fs.web.request("HEAD", f"/stream/{torrent.info_hash}")
    assert largest.headers["Content-Disposition"] == names["big.webm"]


def test_a_request_of_http_1_0_gets_the_same(subject: Subject) -> None:
    target = subject.target("film.mp4")
    head = f"GET {target} HTTP/1.0\nHost: 127.0.0.1:{subject.web.port}\n"
    answer = exchange(subject.web, head + "Range: bytes=5-9\n\n")
    assert (answer.status, answer.body) == (206, subject.torrent.read("film.mp4", 5, 5))
