"""What is left: where dth's CPU goes in a workload, as a sampling profile showed it, beside the figure that it explains.

Shares are of one run on a busy machine, so they are good to a few hundredths. Date and commit say which code was looked at.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the CPU of these `workloads` went; `how` it was looked at, and when."""

    workloads: tuple[str, ...]
    how: str
    said: str


PROFILES = (
    Profile(
        ("small", "small-200k", "processes"),
        "20,000 objects of 10 KiB, perf by process and library, samples of 4 ms by Python function, 2026-11-28, with stencils",
        "The workers take 89%, the command with its start and its listing 10%, the zygote less than 1%. The kernel takes 23% of"
        " everything, most of it in TCP. Of a worker, the interpreter takes 63%. By function, the two writes of an object take 20%"
        " of a worker (the kernel's part included), filling in and signing its two heads 14%, taking the two answers' heads apart"
        " 14%, holding these to their conditions 9%, receiving 8%, and what a message takes (decoding, outcomes, queue and ledger)"
        " 9%. No garbage is collected while objects move. What is left is spread over some 250 calls an object.",
    ),
    Profile(
        ("startup-one", "startup-help"),
        "a sync of one object, perf by process, imports timed one by one, 2026-11-28",
        "Imports take three quarters, in the command, before it forks: pydantic the most, then typer, dth's own 190 modules, asyncio"
        " with ssl and uvloop. What comes after the fork takes a third of what came before, half of that in the one worker."
        " The kernel takes a fifth of everything, two thirds of that for pages that are touched for the first time or copied after"
        " a fork. One worker is started for one object.",
    ),
    Profile(
        ("unchanged-1m", "unchanged-100k"),
        "200,000 keys a side, one range, samples of 2 ms, 2026-11-28, after pages were read field by field",
        "Start-up takes 0.9 s whatever the number of keys. Of the rest, reading pages takes 50% (the regular expression that"
        " cuts a page into its fields alone 31%), comparing and cutting off prefixes 19%, and receiving the pages, with the"
        " copies that it needs, 31%. No object is made of a key any more. Pages that hold the owner, as version 1 of the"
        " listing does, cost an eighth more to read. In 16 ranges each range asks for about one page a side twice, because"
        " a page does not end where its range does: 152 of 2,000 pages.",
    ),
    Profile(
        ("missing",),
        "the planner alone on pages in memory, 40,000 keys, minimum of 12, 2026-11-28",
        "A key costs 3.0 µs where it cost 5.9: 0.8 µs to read it, the rest to write it into a message, which is signed,"
        " and into the list of what was handed on. Start-up, 0.9 s on that machine, is a third of what 200,000 keys take.",
    ),
    Profile(
        ("5mib", "bulk"),
        "1 GiB, perf by process and by function, 2026-11-28",
        "The parent (start-up, listing, progress) takes 41 to 43% of the CPU of 1 GiB, which is the same for any number of"
        " bytes; the workers take 56 to 58%. The kernel takes 36 to 38% of everything, the copies out of and into sockets"
        " 11 to 15%. Hashing does not show. Fewer or other copies would gain little: start-up has to shrink. With 5 MiB"
        " objects, one worker process took 8 to 10% less CPU than two, by the medians on a busy machine; three of the eight"
        " rounds went the other way. What a second process costs there was not looked at.",
    ),
    Profile(
        ("5mib-tls", "bulk-tls"),
        "1 GiB in parts, perf by library, one run on a busy machine, 2026-11-28",
        "OpenSSL's cryptography takes 24%, the kernel 24%, Python 24%, the C library (copying, clearing and allocating"
        " memory) 17% and the CRC 5%; the parent with its start-up takes 14%. No thread carries a body over here: each byte"
        " passes through two buffers in memory on either side. The kernel of that machine offers no TLS, so it could not"
        " take over the encryption. By `openssl speed`, AES-128 is a tenth faster than AES-256; that would be about 2% of"
        " the whole, and was not tried. Keeping freed memory (`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`) showed no"
        " gain beyond the noise.",
    ),
)


def profile_of(name: str) -> Profile | None:
    """That of the workload; None where nobody looked."""
    return next((profile for profile in PROFILES if name in profile.workloads), None)
