"""Two stores of which nobody knows the kind, and `dth` between them: what odd answers do to a whole run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import Dth, Finished, between
from tests.servers.quirky import Quirky

SOURCE, DEST = "origin", "target"


@dataclass(frozen=True, slots=True)
class Stand:
    """`source` and `destination` hold what they hold; nothing in them is checked but what a test asks for."""

    source: Quirky
    destination: Quirky
    folder: Path

    def fill(self, count: int = 40, size: int = 20) -> None:
        """Objects of one size at the source."""
        for number in range(count):
            self.source.hold(SOURCE, f"k{number:03}", (b"%020d" % number).ljust(size, b"."))

    def sync(self, *flags: str, expect: int | None = 0) -> Finished:
        """One `dth sync`; its exit code must be `expect`."""
        return self.run("sync", *flags, expect=expect)

    def run(self, verb: str, *flags: str, expect: int | None = 0) -> Finished:
        """One command between the two buckets."""
        dth: Dth = between(self.folder, self.source.server, self.destination.server, "--processes", "1")
        if verb == "verify":
            dth = Dth(dth.env, [flag for flag in dth.flags if flag not in {"--processes", "1"}])
        return dth(verb, f"s3://{SOURCE}", f"s3://{DEST}", *flags, expect=expect)

    @property
    def arrived(self) -> dict[str, bytes]:
        """What the destination holds."""
        return {key: stored.body for (bucket, key), stored in self.destination.objects.items() if bucket == DEST}

    @property
    def there(self) -> dict[str, bytes]:
        """What the source holds."""
        return {key: stored.body for (bucket, key), stored in self.source.objects.items() if bucket == SOURCE}


@contextmanager
def stand(folder: Path) -> Iterator[Stand]:
    """A new one."""
    with Quirky(check_signatures=False) as source, Quirky(check_signatures=False) as destination:
        yield Stand(source, destination, folder)
