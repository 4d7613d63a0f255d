"""Nothing to do, at sizes where memory shows: keys per CPU second and peak memory, beside rclone and juicefs.

`python -m bench.finder [--keys 1000000] [--large 10000000] [--rounds 3]`: at `--keys` a side all tools in turn, dth both
in one range (its defaults where the store is not known) and in many; at `--large` a side dth alone, whose memory must not
have grown. Ends with 1 where a bound is missed: 0.3 of rclone's CPU (`copy --size-only --fast-list`), 0.4 of juicefs
sync's, 0.15 of rclone's memory, 300 MiB, 10% more memory than at a tenth of the keys.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass

from bench.contenders import Contender
from bench.interpreter import machine, named
from bench.peers import juicefs, rclone_unchanged
from bench.stand import Cost, Store, run, store
from bench.unchanged import ours, spaces


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of one contender at one size."""

    name: str
    keys: int
    cpu: float
    wall: float
    rss: int
    pages: int


def contenders() -> list[Contender]:
    """dth both ways, rclone at its cheapest, juicefs."""
    sizes = next(one for one in rclone_unchanged() if one.setting == "sizes")
    return [*ours(), sizes, *juicefs(16, tls=False)]


def measure(keys: int, who: list[Contender], rounds: int) -> list[Figure]:
    """Alternating rounds over `keys` keys a side, in folders of 1,000. Raises where a tool failed or copied something."""
    costs: dict[str, list[tuple[Cost, int]]] = {f"{one.tool}, {one.setting}": [] for one in who}
    with store(spaces(keys)) as running:
        for _ in range(rounds):
            for one in who:
                costs[f"{one.tool}, {one.setting}"].append(_once(one, running))
    return [
        Figure(
            name,
            keys,
            statistics.median(cost.cpu for cost, _ in runs),
            statistics.median(cost.wall for cost, _ in runs),
            max(cost.rss for cost, _ in runs),
            max(pages for _, pages in runs),
        )
        for name, runs in costs.items()
    ]


def _once(one: Contender, running: Store) -> tuple[Cost, int]:
    running.reset()
    cost = run(one.words(running, "source/data/", "dest/data/"), one.environment(running), 3600)
    did = running.stats()
    if cost.exit_code or did["put"] or did["complete"]:
        raise RuntimeError(f"{one.tool}: exit {cost.exit_code}, {did['put']} copied\n{cost.output}")
    return cost, did["list"]


def show(figures: list[Figure]) -> None:
    print(f"{'':24}{'keys a side':>12} {'CPU s':>8} {'keys per CPU s':>15} {'wall s':>8} {'RSS MiB':>8} {'pages':>8}")
    for one in figures:
        rate = 2 * one.keys / one.cpu
        numbers = f"{one.cpu:8.2f} {rate:15,.0f} {one.wall:8.1f} {one.rss / 2**20:8.0f} {one.pages:8,}"
        print(f"{one.name:24}{one.keys:12,} {numbers}")
    print(f"machine: {machine()['cpu']}, {named(machine())}")


def missed(small: dict[str, Figure], large: dict[str, Figure]) -> list[str]:
    """Bounds that do not hold."""
    found = []
    for name in ("dth, one range", "dth, 16 ranges"):
        ours = small[name]
        bounds = [
            ("rclone, sizes", "CPU", ours.cpu / small["rclone, sizes"].cpu, 0.3),
            ("juicefs, 16 threads", "CPU", ours.cpu / small["juicefs, 16 threads"].cpu, 0.4),
            ("rclone, sizes", "memory", ours.rss / small["rclone, sizes"].rss, 0.15),
        ]
        if name in large:
            bounds.append(("itself at fewer keys", "memory", large[name].rss / ours.rss, 1.1))
            bounds.append(("300 MiB", "memory", large[name].rss / (300 << 20), 1.0))
        for other, what, ratio, bound in bounds:
            print(f"{name}: {what} {ratio:.3f} of {other} (at most {bound})")
            if ratio > bound:
                found.append(f"{name}: {what} is {ratio:.3f} of {other}, more than {bound}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000, help="0: leave it out")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    small = measure(args.keys, contenders(), args.rounds)
    large = measure(args.large, contenders()[:2], 1) if args.large else []
    show(small + large)
    if found := missed({one.name: one for one in small}, {one.name: one for one in large}):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
