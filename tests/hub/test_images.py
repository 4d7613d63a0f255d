"""A task of images between two real registries: planned, run, run again, its records; another tool reads the result."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import docker_registry as registries
from tests.servers.docker_registry import PASSWORD, USER, DockerRegistry
from tests.servers.images import raw_digest

from .hubs import HubProcess, Told, alone, until

pytestmark = [pytest.mark.docker_registry, pytest.mark.slow]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LOGIN = f"{USER}:{PASSWORD}"
RUN = "latest { kind state exitCode found done skipped failed reconciles endedAt }"


@pytest.fixture
def pair() -> Iterator[tuple[DockerRegistry, DockerRegistry]]:
    """Two of its own: other tests count what is in the session's."""
    source, other = registries.start(), registries.start()
    yield source, other
    source.stop()
    other.stop()


def push(registry: DockerRegistry, repository: str, tag: str, layer: bytes) -> str:
    """An image of one layer, put there by plain HTTP; its digest."""
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    signed = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}

    def ask(method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream") -> str:
        connection.request(method, path, body, {**signed, "Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in {201, 202}, (method, path, answer.status)
        return answer.headers.get("Location", "")

    def blob(data: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = ask("POST", f"/v2/{repository}/blobs/uploads/").removeprefix(registry.address)
        ask("PUT", f"{where}&digest={digest}", data)
        return {"digest": digest, "size": len(data)}

    try:
        config = blob(json.dumps({"architecture": "arm64", "os": "linux", "of": f"{repository}:{tag}"}).encode())
        made = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(layer)}],
        }
        text = json.dumps(made).encode()
        ask("PUT", f"/v2/{repository}/manifests/{tag}", text, MANIFEST)
    finally:
        connection.close()
    return "sha256:" + hashlib.sha256(text).hexdigest()


def save(hub: HubProcess, settings: dict[str, str]) -> str:
    given = {"type": "ECR", "settings": [{"name": n, "value": v} for n, v in settings.items()], "name": "images"}
    task = hub.ask("mutation($i: TaskInput!) { saveTask(input: $i, run: false) { id } }", i=given)["saveTask"]
    return str(task["id"])


def test_a_task_of_images_moves_them_once_and_tells_of_each(
    pair: tuple[DockerRegistry, DockerRegistry], tmp_path: Path
) -> None:
    source, other = pair
    pushed = {
        f"hub/{name}:{tag}": push(source, f"hub/{name}", tag, f"layer of {tag}".encode() * 500)
        for name, tag in (("web", "v1"), ("web", "v2"), ("db", "v1"))
    }
    source.login(tmp_path)
    other.login(tmp_path)
    hub = alone(tmp_path).start()
    try:
        settings = {
            "src_registry": source.address, "src_list": "SELECTED", "src_image_list": ",".join(pushed),
            "dest_registry": other.address, "dest_repository_prefix": "mirror",
        }  # fmt: skip
        given = {"type": "ECR", "settings": [{"name": n, "value": v} for n, v in settings.items()]}
        plan = hub.ask("mutation($i: TaskInput!) { planTask(input: $i) { id } }", i=given)["planTask"]["id"]
        asking = "query($p: ID!) { plan(id: $p) { state copies error samples { key destKey reason } } }"
        until(lambda: hub.ask(asking, p=plan)["plan"]["state"] != "LISTING", hub.complaint)
        planned = hub.ask(asking, p=plan)["plan"]
        assert (planned["state"], planned["copies"], planned["error"]) == ("READY", 3, None)

        task = save(hub, settings)
        shown = hub.task(task, "type source { url provider } destination { url prefix }")
        assert (shown["type"], shown["destination"]["prefix"]) == ("ECR", "mirror")
        hub.change("runTask", task)
        done = hub.wait(task, "DONE", "FAILED")
        assert done["state"] == "DONE", done
        run = hub.task(task, RUN)["latest"]
        assert (run["kind"], run["done"], run["failed"], run["exitCode"]) == ("IMAGES", 3, 0, 0)
        for name, digest in pushed.items():
            assert raw_digest(other.host, f"mirror/{name}", LOGIN) == digest

        query = """query($id: ID!) { records(taskId: $id) { items { key outcome size
            image { repository tag digest bytes mounted referrerOf removed } } } }"""
        records = hub.ask(query, id=task)["records"]["items"]
        assert {one["image"]["digest"] for one in records} == set(pushed.values())
        assert {one["outcome"] for one in records} == {"DONE"}
        assert {(one["image"]["repository"].partition("hub/")[2], one["image"]["tag"]) for one in records} == {
            ("web", "v1"), ("web", "v2"), ("db", "v1"),
        }  # fmt: skip
        assert all(one["size"] == one["image"]["bytes"] + one["image"]["mounted"] > 0 for one in records)

        hub.change("runTask", task)
        again = hub.wait(task, "DONE", "FAILED")
        assert (again["latest"]["done"], again["latest"]["skipped"]) == (0, 3)
        with pytest.raises(Told) as told:
            hub.change("verifyTask", task)
        assert told.value.code == "not_for_images"
        spelt = hub.ask("query($id: ID!) { spellings(taskId: $id) { command } }", id=task)["spellings"]
        assert spelt["command"].split()[:2] == ["dth", "ecr-sync"]
        assert "--dest-registry" in spelt["command"].split()
    finally:
        hub.end()
