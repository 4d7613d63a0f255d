"""One question in GraphQL, answered. Resolvers stand at root fields only: `resolve(args, who, wanted)`.

Errors of ours are told in words, with `code` and `hint`; every other one is logged with an id, and only the id is told.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    execute,
    parse,
    validate,
)
from graphql.pyutils import is_awaitable

from dth.errors import DthError
from dth.hub.base import Refused, Who
from dth.hub.wanted import Wanted

Resolve = Callable[[Mapping[str, Any], Who, Wanted], Awaitable[Any]]
Table = Mapping[tuple[str, str], Resolve]

MAX_TOKENS = 4000  # the console's largest question has some 600
MAX_DEPTH = 12
MAX_ROOT_FIELDS = 20  # aliases would let one request ask for a thousand things
MAX_FIELDS = 1000
_INTROSPECTION_DEPTH = 20
_log = logging.getLogger("dth.hub")


@cache
def schema_text() -> str:
    """The contract."""
    return files("dth.hub").joinpath("schema.graphql").read_text("utf-8")


@cache
def schema() -> GraphQLSchema:
    """The contract, built once."""
    return build_schema(schema_text())


def _failed(message: str, code: str, hint: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"message": message, "extensions": {"code": code}}
    if hint:
        error["extensions"]["hint"] = hint
    return {"errors": [error]}


async def answer(table: Table, question: Mapping[str, Any], who: Who) -> dict[str, Any]:
    """What a client is told: `data`, `errors`, or both. `question` holds `query`, `variables` and `operationName`."""
    query, variables = question.get("query"), question.get("variables") or {}
    name = question.get("operationName")
    if not isinstance(query, str) or not isinstance(variables, dict) or not isinstance(name, str | None):
        return _failed("a question is an object with query, variables and operationName", "bad_request")
    try:
        document = parse(query, max_tokens=MAX_TOKENS, no_location=True)
    except GraphQLError as error:
        return _failed(error.message, "bad_request")
    problems = validate(schema(), document, max_errors=5)
    if problems:
        return {"errors": [{"message": one.message, "extensions": {"code": "bad_request"}} for one in problems]}
    try:
        operation = _operation(document, name)
    except Refused as error:
        return _failed(str(error), error.kind, error.hint)
    if operation.operation is OperationType.MUTATION and not who.can_write:
        return _failed("this hub is read-only", "read_only", "start it without --read-only to change anything")
    result = execute(
        schema(),
        document,
        root_value=_Root(table, who),
        variable_values=variables,
        operation_name=name,
        field_resolver=_resolve_field,
    )
    done: Any = await result if is_awaitable(result) else result
    told: dict[str, Any] = {"data": done.data}
    if done.errors:
        told["errors"] = [_told(error) for error in done.errors]
    return told


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that is meant. Refuses one that asks for too much at once."""
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    chosen = [one for one in operations if name is None or (one.name and one.name.value == name)]
    if len(chosen) != 1:
        raise Refused("bad_request", "operationName names none, or several, of the operations")
    fragments = Wanted.fragments_of(document)
    roots = list(itertools.islice(Wanted.fields_of(chosen[0].selection_set, fragments), MAX_ROOT_FIELDS + 1))
    if len(roots) > MAX_ROOT_FIELDS:
        raise Refused("too_much", f"one request may ask for {MAX_ROOT_FIELDS} root fields at most")
    seen = 0

    def walk(node: FieldNode, depth: int, most: int) -> None:
        nonlocal seen
        seen += 1
        if depth > most or seen > MAX_FIELDS:
            raise Refused(
                "too_much", f"a question may be {MAX_DEPTH} fields deep and have {MAX_FIELDS} of them at most"
            )
        if node.selection_set:
            for child in Wanted.fields_of(node.selection_set, fragments):
                walk(child, depth + 1, most)

    for root in roots:
        walk(root, 1, _INTROSPECTION_DEPTH if root.name.value.startswith("__") else MAX_DEPTH)
    return chosen[0]


class _Root:
    """What root fields are resolved with."""

    __slots__ = ("table", "who")

    def __init__(self, table: Table, who: Who) -> None:
        self.table = table
        self.who = who


def _resolve_field(source: Any, info: Any, **args: Any) -> Any:
    if isinstance(source, _Root):
        resolve = source.table[info.parent_type.name, info.field_name]
        return resolve(args, source.who, Wanted.of(info))
    return source.get(info.field_name)


def _told(error: GraphQLError) -> dict[str, Any]:
    told: dict[str, Any] = {"message": error.message}
    if error.path:
        told["path"] = list(error.path)
    cause = error.original_error
    if cause is None:
        told["extensions"] = {"code": "bad_request"}
    elif isinstance(cause, Refused):
        told["extensions"] = {"code": cause.kind, **({"hint": cause.hint} if cause.hint else {})}
    elif isinstance(cause, DthError):
        told["extensions"] = {"code": cause.code}
    else:
        number = uuid.uuid4().hex[:12]
        _log.error("internal error %s", number, exc_info=cause)
        told["message"] = f"internal error {number}; the hub's log has its details"
        told["extensions"] = {"code": "internal", "id": number}
    return told
