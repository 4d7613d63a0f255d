"""Bar charts as plain SVG: readable in light and dark, without script or font of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LABEL, _VALUE, _BAR, _GAP, _HEAD, _EDGE = 760, 190, 150, 16, 6, 26, 16
_STYLE = """
.card{fill:#fff;stroke:#d9dce3}.text{fill:#1c2230}.faint{fill:#5b6375}.ours{fill:#3f51b5}.peer{fill:#9aa3b5}
.floor{stroke:#c2410c;stroke-width:2}
text{font:13px system-ui,sans-serif}.head{font-weight:600}
@media(prefers-color-scheme:dark){.card{fill:#1b1f2a;stroke:#343b4d}.text{fill:#e6e9f0}.faint{fill:#a3abbd}
.ours{fill:#8c9eff}.peer{fill:#616b80}.floor{stroke:#fb923c}}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """`value` decides its length, `shown` is written behind it."""

    label: str
    value: float
    shown: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Bars of one unit, under a heading; `floor` is a line that none can go below, 0 for none."""

    heading: str
    bars: Sequence[Bar]
    floor: float = 0.0


def chart(title: str, blocks: Sequence[Block]) -> str:
    """An SVG document: the blocks below each other, each with a scale of its own."""
    parts: list[str] = []
    y = float(_EDGE)
    for block in blocks:
        drawn, y = _block(block, y)
        parts += drawn
    height = y + _EDGE - _GAP
    said = escape(f"{title}. " + "; ".join(_in_words(block) for block in blocks))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" role="img">'
    card = f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>'
    body = "\n".join(
        [f"<title>{escape(title)}</title>", f"<desc>{said}</desc>", f"<style>{_STYLE}</style>", card, *parts]
    )
    return f"{head}\n{body}\n</svg>\n"


def _block(block: Block, y: float) -> tuple[list[str], float]:
    """Its elements, and where the next begins."""
    parts = [f'<text class="text head" x="{_EDGE}" y="{y + 14:.0f}">{escape(block.heading)}</text>']
    y += _HEAD
    largest = _scale([bar.value for bar in block.bars])
    room = _WIDTH - 2 * _EDGE - _LABEL - _VALUE
    start = _EDGE + _LABEL
    top = y
    for bar in block.bars:
        length = min(max(room * bar.value / largest, 1.0), room)
        shown = f"{bar.shown} (cut)" if bar.value > largest else bar.shown
        base = y + 13
        parts += [
            f'<text class="text" x="{start - 8}" y="{base:.0f}" text-anchor="end">{escape(bar.label)}</text>',
            (
                f'<rect class="{"ours" if bar.ours else "peer"}" x="{start}" y="{y:.0f}" width="{length:.1f}"'
                f' height="{_BAR}" rx="2"/>'
            ),
            f'<text class="faint" x="{start + length + 8:.1f}" y="{base:.0f}">{escape(shown)}</text>',
        ]
        y += _BAR + _GAP
    if 0 < block.floor < largest:
        at = start + room * block.floor / largest
        parts.append(f'<line class="floor" x1="{at:.1f}" x2="{at:.1f}" y1="{top - 3:.0f}" y2="{y - _GAP + 3:.0f}"/>')
    return parts, y + _GAP


def _scale(values: Sequence[float]) -> float:
    """The largest that is at most ten times the smallest: one that is far out is cut, so that the others can be told
    apart."""
    smallest = min(values, default=0.0)
    return max((value for value in values if value <= 10 * smallest), default=1.0) or 1.0


def _in_words(block: Block) -> str:
    return f"{block.heading}: " + ", ".join(f"{bar.label} {bar.shown}" for bar in block.bars)
