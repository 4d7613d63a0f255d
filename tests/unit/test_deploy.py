"""What stands in `Dockerfile` and `deploy/` is valid to the judges of its kind, and names commands and settings that exist."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from dth.cli.main import app
from dth.settings import TransferJob, load_settings
from tests.servers import tools

pytestmark = pytest.mark.tools
ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
TO_JSON = "import json, sys, yaml; json.dump([*yaml.safe_load_all(sys.stdin)], sys.stdout)"


def read(manifest: Path) -> list[dict[str, Any]]:
    """Its documents; the tools' environment has a parser of YAML."""
    words = [str(tools.folder() / "python"), "-c", TO_JSON]
    done = subprocess.run(words, input=manifest.read_text(), capture_output=True, text=True, check=True)
    documents: list[dict[str, Any]] = json.loads(done.stdout)
    return documents


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pods that it makes."""
    spec = document.get("spec", {})
    if "jobTemplate" in spec:
        yield from pods(spec["jobTemplate"])
    elif "template" in spec:
        yield spec["template"]["spec"]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_are_what_kubernetes_takes(version: str) -> None:
    assert {path.name for path in MANIFESTS} == {"cronjob.yaml", "job.yaml", "settings.yaml", "workers.yaml"}
    tools.check("kubernetes-validate", "--strict", "-k", version, *map(str, MANIFESTS))


def test_a_manifest_with_a_field_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "deploy/kubernetes/workers.yaml").read_text().replace("livenessProbe", "livelinessProbe"))
    with pytest.raises(AssertionError, match="livelinessProbe"):
        tools.check("kubernetes-validate", "--strict", str(wrong))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_run_commands_of_dth_with_nothing_to_gain_from(manifest: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    found = [pod for document in read(manifest) for pod in pods(document)]
    assert bool(found) == (manifest.stem != "settings")
    for pod in found:
        (container,) = pod["containers"]
        verb, *words = container["args"]
        command = group.get_command(typer.Context(group), verb)
        assert command is not None
        command.make_context(verb, list(words))  # raises where an option or argument does not exist
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        held = container["securityContext"]
        assert (held["readOnlyRootFilesystem"], held["allowPrivilegeEscalation"]) == (True, False)
        assert held["capabilities"] == {"drop": ["ALL"]}
        assert pod["terminationGracePeriodSeconds"] > TransferJob().grace_seconds


def test_the_settings_of_the_manifests_are_settings() -> None:
    (data,) = [one["data"] for one in read(ROOT / "deploy/kubernetes/settings.yaml") if one["kind"] == "ConfigMap"]
    settings = load_settings({}, data, None)
    assert (settings.job_id, settings.src_bucket, settings.dest_bucket) == ("photos", "photos", "photos-copy")


def test_the_dockerfile_has_no_finding() -> None:
    tools.check("hadolint", str(ROOT / "Dockerfile"))


def test_scripts_have_no_finding() -> None:
    scripts = [ROOT / "tests/servers/install.sh", *(ROOT / "deploy").rglob("*.sh"), *(ROOT / "release").glob("*.sh")]
    tools.check("shellcheck", *map(str, scripts))
