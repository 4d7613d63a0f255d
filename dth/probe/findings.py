"""What a probe found, one question at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from dth.errors import (
    AccessDenied,
    BadCredentials,
    ConnectFailed,
    DthError,
    NoSuchBucket,
    ProxyRefused,
    TlsFailed,
    WrongRegion,
)
from dth.events import Emit, Probed

HOPELESS = (ConnectFailed, TlsFailed, ProxyRefused, BadCredentials, NoSuchBucket, WrongRegion)
"""Nothing else can be asked either."""


class Verdict(StrEnum):
    """The answer to one question. DENIED: a permission is missing, and the detail names it; UNKNOWN: what is there does not
    tell; BROKEN: the endpoint answered with something that is no answer to it."""

    YES = "yes"
    NO = "no"
    DENIED = "denied"
    UNKNOWN = "unknown"
    BROKEN = "broken"


Answer = tuple[bool | None, str]
"""Yes, no or unknown, and what shows it."""


@dataclass
class Findings:
    """All answers so far, each told as it is found. `required` names what a job could not do without."""

    emit: Emit
    required: set[str] = field(default_factory=set)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    async def ask(
        self, name: str, question: Callable[[], Awaitable[Answer]], *, assumed: bool | None = None
    ) -> Verdict:
        """Ask, and tell; `assumed` is what dth takes for granted of this endpoint. Raises what makes all else pointless."""
        code = ""
        try:
            answer, detail = await question()
            verdict = {True: Verdict.YES, False: Verdict.NO, None: Verdict.UNKNOWN}[answer]
        except HOPELESS:
            raise
        except AccessDenied as error:
            verdict, detail, code = Verdict.DENIED, str(error), error.code
        except DthError as error:
            verdict, detail, code = Verdict.BROKEN, str(error), error.code
        self.verdicts[name] = verdict
        self.emit(Probed(name, verdict.value, detail, assumed, code))
        return verdict

    def missing(self, verdict: Verdict) -> list[str]:
        """What is required and was answered so."""
        return [name for name, found in self.verdicts.items() if found is verdict and name in self.required]
