"""Debian's Prometheus: scrapes what it is told to every second, and answers questions; and promtool, which checks texts."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import answers_ok, end, free_ports, spawn, wait_until


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    port: int
    folder: Path
    pid: int

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of an instant vector."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            body: Any = json.load(answer)
        assert body["status"] == "success", body
        return [(one["metric"], float(one["value"][1])) for one in body["data"]["result"]]

    def number(self, query: str) -> float | None:
        """The only value; None where there is none."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def series(self, query: str) -> dict[tuple[str, ...], float]:
        """Values by the values of the labels, in the order of their names."""
        return {tuple(value for _, value in sorted(labels.items())): number for labels, number in self.ask(query)}

    def scraped_since(self, when: float, target: str) -> bool:
        """Whether the target was scraped well after that time (seconds since 1970)."""
        scraped = self.number(f'timestamp(up{{instance="{target}"}} == 1)')
        return scraped is not None and scraped > when

    def wait_for_scrape(self, target: str) -> None:
        """Until what the target says now has been read."""
        now = time.time()
        wait_until(lambda: self.scraped_since(now, target), f"a scrape of {target}", 120, self.folder / "output")

    def stop(self) -> None:
        end([self.pid], self.folder)


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    found = shutil.which("prometheus") and shutil.which("promtool")
    return "" if found else "prometheus is not installed (apt: prometheus)"


def start(targets: Mapping[str, str]) -> Prometheus:
    """Scrape these addresses (by name of the job) every second."""
    folder = Path(tempfile.mkdtemp(prefix="dth-prometheus-"))
    (port,) = free_ports(1)
    scrapes = [{"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()]
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scrapes}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    process = spawn(["prometheus", *words], folder / "output", keep=False)
    process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about
    wait_until(lambda: answers_ok(port, "/-/ready"), "prometheus", 120, folder / "output")
    return Prometheus(port, folder, process.pid)


def promtool(*words: str, text: str = "") -> str:
    """What promtool says; AssertionError unless it is content."""
    done = subprocess.run(["promtool", *words], input=text, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
