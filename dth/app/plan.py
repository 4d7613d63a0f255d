"""What a run would cost and take, from the plan of a dry run."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter
from dataclasses import dataclass, field

from dth.app.sides import Sides
from dth.errors import CostRefused, SettingsError
from dth.events import Estimated, Event, Planned
from dth.multipart.plan import PlanImpossible, plan_parts
from dth.prices import Cost, cost_of, in_dollars
from dth.settings import TransferJob

GIGABIT = 125_000_000  # bytes a second, where nobody says how fast it will go
BOUNDS = (4 << 10, 64 << 10, 1 << 20, 16 << 20, 128 << 20, 1 << 30, 16 << 30)
"""Upper bounds of the histogram of sizes; what is larger stands in a last class of its own."""


@dataclass(slots=True)
class Plan:
    """Adds up what would be done. Give it every event of a dry run."""

    job: TransferJob
    sides: Sides
    objects: Counter[int] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    source: Counter[str] = field(default_factory=Counter)
    destination: Counter[str] = field(default_factory=Counter)

    def heard(self, event: Event) -> None:
        """Count one planned copy or delete."""
        match event:
            case Planned(action="copy"):
                bound = bisect.bisect_left(BOUNDS, event.size)
                self.objects[bound] += 1
                self.sizes[bound] += event.size
                self._copy(event.size)
            case Planned(action="delete"):
                self.source.update(HeadObject=2, GetObject=2)  # before it and after it
                self.destination.update(HeadObject=1, DeleteObject=1)
            case _:
                pass

    def _copy(self, size: int) -> None:
        """By one PUT, or in parts, and nothing fails. Objects may have tags, wherever these are to be copied."""
        if self.job.tags:
            self.source["GetObjectTagging"] += 1
        if size <= self.job.multipart_threshold:
            self.source["GetObject"] += 1
            self.destination["PutObject"] += 1
            return
        try:
            parts = plan_parts(size, self.sides.destination.capabilities, self.job.part_size).count
        except PlanImpossible:
            return  # it will fail by name, without a request
        self.source.update(HeadObject=1, GetObject=parts)
        self.destination.update(CreateMultipartUpload=1, UploadPart=parts, CompleteMultipartUpload=1)

    @property
    def bytes(self) -> int:
        """Of all that would be copied."""
        return self.sizes.total()

    def requests(self) -> dict[str, dict[str, int]]:
        """What the run would ask, by side and operation: it lists both sides as the dry run has done."""
        listed = self.sides.requests("")
        source, destination = Counter(listed.source), Counter(listed.destination)
        return {"source": dict(source + self.source), "destination": dict(destination + self.destination)}

    def cost(self) -> Cost:
        """About what the run costs."""
        regions = self.sides.requests("").regions
        return cost_of(self.requests(), regions, self.job.dest_storage_class, self.bytes)

    def estimated(self) -> Estimated:
        """All of it, to be told."""
        rate = self.job.plan_rate or self.job.bandwidth or GIGABIT
        cost = self.cost()
        return Estimated(
            sizes=[
                {"up_to": [*BOUNDS, 0][bound], "objects": count, "bytes": self.sizes[bound]}
                for bound, count in sorted(self.objects.items())
            ],
            requests=self.requests(),
            cost=dataclasses.asdict(cost) if cost.known else None,
            rate=rate,
            seconds=round(self.bytes / rate, 1),
        )

    def refuse_beyond(self, most: float) -> None:
        """Raises CostRefused where the run would cost more; SettingsError where nobody knows what it costs."""
        cost = self.cost()
        if not cost.known:
            raise SettingsError(
                "max_cost: nothing of this job has a price that dth knows (see `dth sync --dry-run`); leave out --max-cost"
            )
        if cost.usd > most:
            raise CostRefused(
                f"nothing is copied: the run would cost about {in_dollars(cost.usd)}, and --max-cost allows "
                f"{in_dollars(most)}; this does not even include {'; '.join(cost.not_priced)}"
            )
