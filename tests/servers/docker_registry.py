"""Debian's docker-registry (distribution 2.8) with htpasswd, user `AWS`: `Www-Authenticate: Basic realm="ecr"`, ECR's scheme.

Knows no referrers API (404), so signatures go by tags; mounts work; deleting by tag does not.
"""

import base64
import http.client
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .processes import end, free_ports, spawn, wait_until

USER, PASSWORD = "AWS", "registry-password"
# htpasswd -nbB AWS registry-password: the registry takes bcrypt only, and making it here would need a library
_HTPASSWD = "AWS:$2y$04$xrdnN3bl3BDW9jVaNzkGe.E18rX3yz8YK.chwzW53TTaF3hW4MwgW"


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A running one."""

    port: int
    folder: Path
    pid: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}"

    def login(self, home: Path) -> None:
        """Leave its login in `home`, as `docker login` does."""
        file = home / ".docker" / "config.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        config = json.loads(file.read_text()) if file.exists() else {"auths": {}}
        config["auths"][self.host] = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        file.write_text(json.dumps(config))

    def asked(self) -> list[str]:
        """`METHOD path` of every request so far, pings (`/v2/`) left out."""
        found = []
        for line in (self.folder / "output").read_text(errors="replace").splitlines():
            parts = line.split('"')
            if len(parts) > 2 and parts[1].endswith("HTTP/1.1") and parts[1].split(" ")[1] != "/v2/":
                found.append(" ".join(parts[1].split(" ")[:2]))
        return found

    def stop(self) -> None:
        end([self.pid], self.folder)


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    for program in ("docker-registry", "skopeo", "buildah"):
        if not shutil.which(program):
            return f"{program} is not installed (apt: docker-registry skopeo buildah)"
    return ""


def start() -> DockerRegistry:
    """Start one with an empty storage. Returns when it answers."""
    folder = Path(tempfile.mkdtemp(prefix="dth-docker-registry-"))
    (port,) = free_ports(1)
    (folder / "htpasswd").write_text(_HTPASSWD + "\n")
    settings = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "ecr", "path": str(folder / "htpasswd")}},
        "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    log = folder / "output"
    process = spawn(["docker-registry", "serve", str(folder / "config.yml")], log, keep=False)
    process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about
    running = DockerRegistry(port, folder, process.pid)
    try:
        wait_until(lambda: _answers(port), "docker-registry", 30, log)
    except BaseException:
        running.stop()
        raise
    return running


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == http.HTTPStatus.UNAUTHORIZED
    except OSError:
        return False
    finally:
        connection.close()
