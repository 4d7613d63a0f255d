"""`dth probe`, from settings."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from dth import settings
from dth.app.sides import open_store
from dth.app.stopping import unless_stopped
from dth.errors import AccessDenied, DthError
from dth.events import Emit, Probed, ProbeOver
from dth.probe.canary import Canary
from dth.probe.findings import Findings, Verdict
from dth.probe.reading import ReadQuestions
from dth.probe.writing import WriteQuestions
from dth.retry import RetryPolicy
from dth.settings import TransferJob
from dth.states import Side
from dth.stores.s3 import S3Store
from dth.summary import ExitCode

CONNECTIONS = 2
RETRY = RetryPolicy(attempts=2, base_seconds=0.2, cap_seconds=2.0)  # a refusal is an answer here


async def probe(job: TransferJob, side: Side, emit: Emit, stop: asyncio.Event, *, write: bool) -> int:
    """Ask the side's endpoint what it can do, reading only, or with `write` also by objects below a random folder, which are
    removed again whatever happens. Every answer is an event; returns the exit code.

    Raises what makes asking pointless: an endpoint that cannot be reached, credentials that it does not know.
    """
    location = settings.source_location(job) if side is Side.SOURCE else settings.dest_location(job)
    findings = Findings(emit, _required(side, write=write))
    left: list[str] = []
    async with AsyncExitStack() as stack:
        store = open_store(location, job, CONNECTIONS)
        stack.push_async_callback(store.close)
        await unless_stopped(_ask(store, settings.folder(location.prefix), findings, left, stack, write=write), stop)
        code = _code(findings, left, interrupted=stop.is_set())
        emit(ProbeOver(store.capabilities.provider, location.url(), left, code))
    return code


def _required(side: Side, *, write: bool) -> set[str]:
    return {"list"} | ({"get"} if side is Side.SOURCE else set()) | ({"put", "multipart", "delete"} if write else set())


async def _ask(
    store: S3Store, prefix: str, findings: Findings, left: list[str], stack: AsyncExitStack, *, write: bool
) -> None:
    with suppress(AccessDenied):  # an answer, told below
        await store.check(prefix)  # lets a store that names itself take its own profile
    other = "virtual" if store.addressing == "path" else "path"
    asking = store.variant(RETRY, start_after=True)
    other_style = store.variant(RETRY, addressing=other)
    other_version = store.variant(RETRY, list_version=3 - store.list_version)
    streaming = store.variant(RETRY, unsigned_over_http=True)
    for one in (asking, other_style, other_version, streaming):
        stack.push_async_callback(one.close)
    await ReadQuestions(asking, other_style, other_version, prefix, store.capabilities, keys_to_come=write).ask(
        findings
    )
    if not write:
        return
    canary = Canary(asking, prefix)
    try:
        await WriteQuestions(asking, streaming, canary, store.capabilities).ask(findings)
    finally:
        remains, reason = await canary.remove()
        left += remains
        verdict = Verdict.YES
        if remains:
            verdict = Verdict.DENIED if isinstance(reason, AccessDenied) else Verdict.BROKEN
        findings.verdicts["delete"] = verdict
        code = reason.code if isinstance(reason, DthError) else ""
        findings.emit(Probed("delete", verdict.value, str(reason or ""), None, code))


def _code(findings: Findings, left: list[str], *, interrupted: bool) -> int:
    if findings.missing(Verdict.DENIED):
        return ExitCode.UNREACHABLE
    if findings.missing(Verdict.BROKEN) or left:
        return ExitCode.SOME_FAILED
    return ExitCode.INTERRUPTED if interrupted else ExitCode.COMPLETE
