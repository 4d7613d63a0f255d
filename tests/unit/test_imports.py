"""Imports go down only; adapters are known to the composition root alone."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("dth").origin).parent  # type: ignore[union-attr, arg-type]

VALUES = {
    "columns",
    "etags",
    "error_groups",
    "errors",
    "model",
    "partitions",
    "policy",
    "states",
    "stats",
    "causes",
    "events",
    "retry",
    "messages",
    "settings",
    "summary",
    "signing",
    "text",
    "values",
    "prices",
    "dth",
}
BASES = {"stores.base", "queues.base", "ledgers.base"}

ALLOWED: dict[str, set[str]] = {
    # who: what else it may import, besides its own package and VALUES
    "verify": {"finder", "transfer", "flow", "multipart", "report", *BASES},
    "cli": {
        "app", "flow.limits", "flow.timetable", "children", "zygote", "embedded", "demo", "hub", "logs", "__main__", *BASES,
    },
    "hub": {"app", "demo", "flow.limits", "database", "stores.providers", "stores.secrets", "ledgers.base"},
    "probe": {"multipart", "stores", "transport", *BASES},
    "demo": {"app", "stores", "transport", *BASES},
    "app": {
        "children", "embedded", "finder", "worker", "transfer", "flow", "report", "logs", "usage", "metrics", "ecr", "verify", "probe", "multipart", "stores",
        "queues", "ledgers", "transport", *BASES,
    },
    "children": {"zygote"},
    "zygote": set(),
    "embedded": set(),
    "finder": {*BASES},
    "ecr": {"flow", "transport"},
    "worker": {"transfer", "flow", "report", "usage", "multipart", "queues.bucket_events", *BASES},
    "transfer": {"flow", "multipart", *BASES},
    "flow": set(),
    "report": set(),
    "logs": {"report"},
    "usage": {*BASES},
    "metrics": {*BASES},
    "multipart": {"transport.base", *BASES},
    "stores": {"transport"},
    "stores.base": {"transport.base"},
    "transport": set(),
    "queues": {"database", "aws"},
    "ledgers": {"database", "aws"},
    "database": set(),
    "aws": set(),
}  # fmt: skip


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        found.append((name, path))
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "dth"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dth":
            if node.module == "dth":
                names |= {f"dth.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
            else:
                names.add(node.module)
    return {name.removeprefix("dth.") for name in names}


def allows(importer: str, target: str) -> bool:
    package = importer.split(".", maxsplit=1)[0]
    if target in VALUES or target.startswith("settings."):
        return True
    if target == package or target.startswith(package + "."):
        return True
    rules = ALLOWED.get(importer) or ALLOWED.get(package)
    if rules is None:
        return package in VALUES and target.split(".", maxsplit=1)[0] in VALUES
    return any(target == rule or target.startswith(rule + ".") for rule in rules)


@pytest.mark.parametrize(("name", "path"), [m for m in modules() if m[0] != "__main__"], ids=lambda v: str(v)[-40:])
def test_every_module_imports_only_what_lies_below_it(name: str, path: Path) -> None:
    upward = sorted(target for target in imported(path) if not allows(name, target))
    assert not upward, f"dth.{name} imports {upward}: not in the table of allowed edges"
