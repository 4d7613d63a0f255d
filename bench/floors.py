"""What nobody can go below: figures of small programs without any promise, copied here with their source.

They were measured on another day, so a ratio to them is good to a tenth at best.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Floor:
    """CPU `seconds` a unit of the workloads whose names begin with one of `workloads`."""

    workloads: tuple[str, ...]
    seconds: float
    unit: str
    source: str


_KERNEL = "a C program over epoll with constant heads, so almost all of it is the kernel's; loopback, one core"
FLOORS = (
    Floor(("small", "small-200k", "processes", "fleet"), 17e-6, "object", f"measured on {_KERNEL}"),
    Floor(
        ("1mib", "5mib", "bulk", "giant"),
        0.20,
        "GiB",
        "measured on a C program that receives and sends 8 MiB ranges, one at a time (0.11 with splice); loopback",
    ),
    Floor(
        ("1mib-tls", "5mib-tls", "bulk-tls", "giant-tls"),
        0.75,
        "GiB",
        "estimated: AES both ways at the speed of this kind of processor, and the relay of a C program",
    ),
    Floor(
        ("small-tls",),
        72e-6,
        "object",
        "measured on a bare pooled HTTP/1.1 protocol on uvloop (no C program was written for TLS); loopback",
    ),
    Floor(
        ("listing", "missing"),
        77e-6,
        "1,000 keys",
        "measured on an HTTP client that receives the pages and does not look into them",
    ),
    Floor(
        ("unchanged-1m", "unchanged-100k"),
        154e-6,
        "1,000 keys a side",
        "twice what an HTTP client takes that receives the pages and does not look into them, as there are two sides",
    ),
)


def floor_of(name: str) -> Floor | None:
    """That of the workload; None where nobody measured one."""
    return next((floor for floor in FLOORS if name in floor.workloads), None)
