"""What `dth probe` found, in words. Pure."""

from __future__ import annotations

from dth.cli.output.format import shown_key
from dth.events import Probed, ProbeOver


def answer(event: Probed) -> str:
    """One line of the table: the question, the answer, what shows it, and what dth assumes where that is another."""
    detail = shown_key(event.detail)
    if event.assumed is not None and event.verdict in {"yes", "no"} and event.assumed is not (event.verdict == "yes"):
        detail = f"dth assumes {'yes' if event.assumed else 'no'}{detail and '; ' + detail}"
    return f"{event.name:<26}  {event.verdict:<7}  {detail}".rstrip()


def probed(event: ProbeOver) -> str:
    """The last line."""
    text = f"dth treats {shown_key(event.location)} as {event.provider}"
    if event.left:
        text += f"\nleft there, to be deleted by hand: {', '.join(map(shown_key, event.left))}"
    return text
