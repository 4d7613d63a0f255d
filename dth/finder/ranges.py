"""Ranges of keys: what is left to list is halved at places that the keys seen so far suggest. Pure.

Keys here are without their side's prefix, so that one range means the same on both sides (`on_side` gives a side's own
bounds). Ranges `(after, until]` are made by cutting a range in two and in no other way, so that whatever the places are,
together they hold every key and no key twice. A badly chosen place costs two requests that find nothing; it never costs
a key.

Nobody says what keys there are, so places come from two sources. `Letters` knows which characters were seen at which
place of a key: read as digits, they make a number of a key, which tells how much of a range is listed and where its
middle is. Where they know of nothing that follows, `Share.exits` names the ends of ever shorter beginnings of the last
key seen (`a/07/x`: after `a/07/`, after `a/0`, after `a/`, after `a`): whatever follows lies behind one of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from dth.states import Side

FULL_PAGE = 1000
"""Keys on a page that leads to another one, as far as is known; S3's own limit."""

_PLACES_MAX = 256  # of a key that are learnt from; what differs later is listed in one piece
_LETTERS_MAX = 4096  # of one place; more say nothing more about where the middle is
_DIGITS = "0123456789"
_WORTH_PAGES = 2.0  # what must be left of a range for a part of it to be worth two requests
_ASCII_END = 0x7F
_CODES_END = 0x110000


class KeyRange(NamedTuple):
    """Keys after `after` up to and with `until`; "" is no bound."""

    after: str
    until: str


EVERYTHING = KeyRange("", "")


def on_side(bounds: KeyRange, prefix: str) -> KeyRange:
    """The range as the side with this prefix has it."""
    return KeyRange(*(prefix + bound if bound else "" for bound in bounds))


def sendable(code: int) -> int:
    """The smallest code point from `code` on that every store takes in a parameter and can show in XML 1.0: no control
    character, half of a surrogate pair or non-character. `_CODES_END` where there is none."""
    for first, end in ((0, 0x20), (0x7F, 0xA0), (0xD800, 0xE000), (0xFFFE, 0x10000)):
        if first <= code < end:
            return end
    return code


def resting_place(key: str, room: int) -> str:
    """The longest beginning of `key` at which a range may begin: at most `room` bytes of text that can be sent. It is not
    after the key, so that whoever goes on from there meets some keys again and misses none."""
    at = next((at for at, letter in enumerate(key) if sendable(ord(letter)) != ord(letter)), len(key))
    return key[:at].encode()[: max(room, 0)].decode(errors="ignore")


def common(first: str, second: str) -> int:
    """How many characters they share at their beginning."""
    for at, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return at
    return min(len(first), len(second))


def past(key: str, at: int, leap: int = 1) -> str:
    """A text after all keys that begin as `key` does up to and with place `at`: `leap` characters on, or the next one
    that can be sent. "" where there is none."""
    code = sendable(min(ord(key[at]) + leap, _CODES_END))
    return key[:at] + chr(code) if code < _CODES_END else ""


class Letters:
    """Which characters were seen at which place of a key."""

    def __init__(self) -> None:
        self._places: list[str] = []  # each sorted

    def learn(self, key: str) -> None:
        """Look at one more key; a few of each page are enough."""
        places = self._places
        for at, letter in enumerate(key[:_PLACES_MAX]):
            if at == len(places):
                places.append("")
            if letter not in places[at] and len(places[at]) < _LETTERS_MAX and sendable(ord(letter)) == ord(letter):
                known = {*places[at], letter}
                if len(known.intersection(_DIGITS)) > 1:  # a number that counts: the other digits will come
                    known.update(_DIGITS)
                places[at] = "".join(sorted(known))

    def follow(self, key: str, at: int, until: str) -> bool:
        """Whether a character after that of `key`, and before that of `until`, was seen at this place; the two share their
        beginning at least up to there, or `until` doesn't matter ("")."""
        if at >= len(self._places):
            return False
        known = self._places[at]
        place = bisect_right(known, key[at])
        return place < len(known) and (not until[at : at + 1] or known[place] < until[at])

    def fraction(self, key: str, start: int) -> float:
        """Where the key lies among all texts that share its beginning up to `start`: 0 to 1, rising with the key."""
        value, scale = 0.0, 1.0
        for known, letter in zip(self._places[start:], key[start:], strict=False):
            if not known:  # what differs here can't be told apart, so nothing behind it may be
                break
            scale /= len(known)
            digit = bisect_left(known, letter)
            value += digit * scale
            if known[digit : digit + 1] != letter or scale < 1e-15:  # noqa: PLR2004 - what a float can tell apart
                break
        return min(value, 1.0)

    def middle(self, low: str, high: str, start: int, depth: int) -> str:
        """A text about half way from `low` to `high` ("": no bound), which share their beginning up to `start`; at most
        `depth` characters long, as few as possible. "" where there is none."""
        begin, end = self.fraction(low, start), self.fraction(high, start) if high else 1.0
        left, text, scale = (begin + end) / 2, low[:start], 1.0
        for known in self._places[start:depth]:
            if not known:
                break
            digit = min(int(left * len(known)), len(known) - 1)
            text += known[digit]
            scale /= len(known)
            left = left * len(known) - digit
            # Accepted as soon as neither half is less than a third of the other.
            off = abs(self.fraction(text, start) - (begin + end) / 2)
            if low < text and (not high or text < high) and off <= (end - begin) / 4:
                return text
        return ""


class Share:
    """One range on its way: its bounds, and what its listings have shown so far. One lister works on it."""

    def __init__(self, bounds: KeyRange, room: int) -> None:
        self.after, self.until = bounds
        self._room = room  # bytes that a bound may have, so that with either side's prefix it is no longer than a key
        self.first = ""
        self.reached = ""
        self.pages = 0
        self.more = False  # a page was full, or followed by another
        self._by_side = dict.fromkeys(Side, 0)
        self._listing = set(Side)
        self._page_common = 0  # characters that the last page's keys share
        self._page_leap = 1  # how far the first character that they don't share went
        self._looked = False  # behind the exits
        self._rest_until = 0  # pages

    @property
    def bounds(self) -> KeyRange:
        """As they are now: `until` comes down when a part is given away."""
        return KeyRange(self.after, self.until)

    def fetched(self, side: Side, first: str, last: str, *, full: bool) -> None:
        """A page arrived, from `first` to `last`, after what is outside the range was cut off."""
        self._by_side[side] += 1
        self.pages = max(self._by_side.values())
        self.more = self.more or full or self.pages > 1
        if not self.first or first < self.first:
            self.first = first
        if last >= self.reached:
            self.reached = last
            self._page_common = common(first, last)
            self._page_leap = ord(last[at]) - ord(first[at]) if (at := self._page_common) < len(first) else 1

    def ended(self, side: Side) -> None:
        """That side has no more keys in this range."""
        self._listing.discard(side)

    def left(self, letters: Letters) -> float:
        """About how many pages are still to come, as far as the letters know."""
        if not self._listing or not self.more or not self.reached:
            return 0.0
        start = common(self.first, self.until)
        done = letters.fraction(self.reached, start) - letters.fraction(self.first, start)
        end = letters.fraction(self.until, start) if self.until else 1.0
        left = self.pages * max(0.0, end - letters.fraction(self.reached, start)) / done if done > 0 else 0.0
        if left < _WORTH_PAGES and (wide := self._wide()):
            here, there = wide
            listed = here - ord(self.first[start]) if len(self.first) > start else 0
            return self.pages * (there - here) / max(1, listed)
        return left

    def _wide(self) -> tuple[int, int] | None:
        """Code points that the last key and the end of the range have where they part, in an alphabet that is too large for
        letters to be learnt."""
        at = common(self.reached, self.until)
        if at < min(len(self.reached), len(self.until)) and ord(self.reached[at]) > _ASCII_END:
            return ord(self.reached[at]), ord(self.until[at])
        return None

    def cut(self, letters: Letters, parts: int) -> list[KeyRange]:
        """Give up to `parts` parts away: ranges at the end of this one, beyond everything that was fetched. They are taken
        off this range in the same step. [] where nothing is worth it."""
        places = self._places(letters, parts)
        if not places:
            return []
        ranges = [KeyRange(*pair) for pair in zip(places, [*places[1:], self.until], strict=True)]
        self.until = places[0]
        return ranges

    def _places(self, letters: Letters, parts: int) -> list[str]:
        """Where to cut, rising."""
        if not self._listing or not self.more or not self.reached:
            return []
        left = self.left(letters)
        if not self._looked:
            self._looked = True
            if places := self.exits(letters, max(1, parts // 2) if left >= _WORTH_PAGES else parts, outer=True):
                return places
        if left >= _WORTH_PAGES:
            depth = self._page_common + 2
            middle = letters.middle(self.reached, self.until, common(self.reached, self.until), depth)
            if middle and self._allowed(middle):
                return [middle]
            if wide := self._wide():
                code = sendable((wide[0] + wide[1] + 1) // 2)
                middle = self.reached[: common(self.reached, self.until)] + chr(code) if code < wide[1] else ""
                if middle and self._allowed(middle):
                    return [middle]
        if self.pages < self._rest_until:
            return []
        self._rest_until = 2 * self.pages  # looking again and again would cost more than it finds
        return self.exits(letters, parts)

    def exits(self, letters: Letters, parts: int, *, outer: bool = False) -> list[str]:
        """At most `parts` ends of beginnings of the last key, rising, where the letters know of nothing that follows;
        `outer`: only of those beginnings that are shorter than the first one of which they do. Where there are fewer, leaps
        further and further on from the outermost and from the innermost one."""
        key = self.reached
        start, inner = common(key, self.until), self._page_common
        ends = [at for at in range(start, min(inner, len(key))) if not self._follows(letters, at)]
        if outer:
            ends = [at for number, at in enumerate(ends, start) if at == number]
        places = sorted({place for at in ends if self._allowed(place := past(key, at))})
        if len(places) > parts:  # evenly, the outermost among them
            return sorted({places[-1 - at * len(places) // parts] for at in range(parts)})
        found = set(places)
        if places:
            found.update(self._leaps(letters, ends[0], 1, parts - len(found)))
        if not outer and key[inner : inner + 1] > chr(
            _ASCII_END
        ):  # an alphabet too large for the letters to be complete
            found.update(self._leaps(letters, inner, self._page_leap, parts - len(found)))
        return sorted(found)

    def _follows(self, letters: Letters, at: int) -> bool:
        return letters.follow(self.reached, at, self.until if at == common(self.reached, self.until) else "")

    def _leaps(self, letters: Letters, at: int, leap: int, parts: int) -> list[str]:
        key = self.reached
        if at >= len(key) or self._follows(letters, at):
            return []
        leaps = [leap << doubled for doubled in range(parts)]
        if ord(key[at]) < _ASCII_END:
            leaps = [leap for leap in leaps if ord(key[at]) + leap < _ASCII_END]
        return [place for leap in leaps if self._allowed(place := past(key, at, leap))]

    def _allowed(self, place: str) -> bool:
        """Whether a range may end here: beyond what was fetched, within the range, and text that can be sent."""
        inside = place > self.reached and place > self.after and (not self.until or place < self.until)
        return inside and all(sendable(code) == code for code in map(ord, place)) and len(place.encode()) <= self._room
