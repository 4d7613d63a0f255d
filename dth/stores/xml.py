"""Small XML answers, read with expat. They are untrusted: no document type, no entities of its own, bounded depth."""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat  # no defused wrapper: document types are refused below, and with them all entities

_DEPTH_MAX = 32
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class XmlInvalid(ValueError):
    """The bytes are no XML that a store may send. Whoever asked turns it into an error that names the request."""


class Element:
    """One element: local name (any prefix dropped), its own text, and its children in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Element] = []

    def child(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def all(self, name: str) -> Iterator[Element]:
        """All children of that name, in order."""
        return (child for child in self.children if child.name == name)

    def get(self, name: str, default: str = "") -> str:
        """The first such child's text as it stands; `default` where there is none."""
        child = self.child(name)
        return default if child is None else child.text

    def truth(self, name: str) -> bool | None:
        """What the children of that name say, as XML Schema writes it (`true`, `1`, `false`, `0`) in any case. None where
        there is none, where it says something else, or where two of them contradict each other."""
        said = {_TRUTH.get(child.text.strip().lower()) for child in self.all(name)}
        return said.pop() if len(said) == 1 else None


def parse(data: bytes) -> Element:
    """The document's root. Raises XmlInvalid for anything but one whole, well-formed document without a DTD."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    stack: list[Element] = []
    roots: list[Element] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        element = Element(name.rpartition(":")[2])
        if stack:
            stack[-1].children.append(element)
        else:
            roots.append(element)
        stack.append(element)
        if len(stack) > _DEPTH_MAX:
            raise XmlInvalid(f"elements are nested deeper than {_DEPTH_MAX}")

    def end(_name: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].text += text

    def refuse_doctype(*_: object) -> None:
        raise XmlInvalid("a document type is declared, which no store has a reason to do")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse_doctype
    try:
        parser.Parse(data, True)  # noqa: FBT003 - positional in expat
    except expat.ExpatError as exc:
        raise XmlInvalid(f"not well-formed: {exc}") from exc
    return roots[0]


def unquoted(etag: str) -> str:
    """An ETag without quotes, weakness mark and white space around it."""
    return etag.strip().removeprefix("W/").strip('"')
