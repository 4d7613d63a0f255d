"""Templates and the artefact of EC2 workers into a bucket: `python -m deploy.publish FOLDER BUCKET --artefact FILE --image NAME`.

It needs the AWS command line and its credentials, and nothing beside: a closed network or partition takes it too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def filled(template: dict[str, Any], image: str, artefact: str) -> dict[str, Any]:
    """The template with what was published as defaults. "" leaves a default as it is."""
    parameters = template["Parameters"]
    defaults = {name: value for name, value in {"image": image, "artefact": artefact}.items() if value}
    changed = {name: {**parameters[name], "Default": value} for name, value in defaults.items() if name in parameters}
    return {**template, "Parameters": parameters | changed}


def place(artefact: Path, bucket: str, prefix: str) -> str:
    """`s3://BUCKET/KEY#SHA256`, as the parameter wants it."""
    digest = hashlib.sha256()
    with artefact.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"s3://{bucket}/{prefix}/{artefact.name}#{digest.hexdigest()}"


def main(words: list[str]) -> int:
    """Copy them, and print where they are."""
    parser = argparse.ArgumentParser(prog="python -m deploy.publish", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the templates are")
    parser.add_argument("bucket", help="where they go")
    parser.add_argument("--prefix", default="dth", help="before every key (default: dth)")
    parser.add_argument("--artefact", default="", help="file system for EC2 workers (make image-root)")
    parser.add_argument("--image", default="", help="container image")
    asked = parser.parse_args(words)
    if not asked.bucket:
        parser.error("which bucket? make publish BUCKET=name")
    if asked.artefact and not Path(asked.artefact).is_file():
        parser.error(f"there is no file {asked.artefact}: make image-root makes it")
    where = ""
    if asked.artefact:
        where = place(Path(asked.artefact), asked.bucket, asked.prefix)
        _copy(asked.artefact, where.partition("#")[0])
    for path in sorted(asked.folder.glob("*.template.json")):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(filled(json.loads(path.read_text()), asked.image, where), file)
            file.flush()
            _copy(file.name, f"s3://{asked.bucket}/{asked.prefix}/{path.name}")
    return 0


def _copy(file: str, to: str) -> None:
    subprocess.run(["aws", "s3", "cp", "--only-show-errors", file, to], check=True)
    sys.stdout.write(f"{to}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
