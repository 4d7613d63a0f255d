"""What of an answer a client wants: the paths below a root field, as AppSync's `selectionSetList` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
)
from graphql.utilities import value_from_ast_untyped

Fragments = Mapping[str, FragmentDefinitionNode]


class Wanted:
    """The paths that are asked for (`items/latest/bytes`), and the arguments that stand at them."""

    def __init__(self, paths: Mapping[str, Mapping[str, Any]]) -> None:
        self._paths = paths

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    @property
    def paths(self) -> frozenset[str]:
        """All of them."""
        return frozenset(self._paths)

    def arguments(self, path: str) -> Mapping[str, Any]:
        """The arguments of the field at the path; none where it is not wanted."""
        return self._paths.get(path, {})

    @classmethod
    def of(cls, info: Any) -> Wanted:
        """What is wanted below the field that is being resolved."""
        paths: dict[str, Mapping[str, Any]] = {}
        for node in info.field_nodes:
            if node.selection_set:
                cls._walk(node.selection_set, info.fragments, info.variable_values, "", paths)
        return cls(paths)

    @classmethod
    def _walk(
        cls,
        chosen: SelectionSetNode,
        fragments: Fragments,
        variables: Any,
        above: str,
        paths: dict[str, Mapping[str, Any]],
    ) -> None:
        for node in cls.fields_of(chosen, fragments):
            path = f"{above}{node.name.value}"
            values = getattr(variables, "coerced", variables)
            paths[path] = {one.name.value: value_from_ast_untyped(one.value, values) for one in node.arguments or ()}
            if node.selection_set:
                cls._walk(node.selection_set, fragments, variables, path + "/", paths)

    @staticmethod
    def fragments_of(document: DocumentNode) -> Fragments:
        """The document's fragments by name."""
        return {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}

    @classmethod
    def fields_of(cls, chosen: SelectionSetNode, fragments: Fragments) -> Iterator[FieldNode]:
        """The fields of a selection, those of fragments among them. Fragments have no circles: that was validated."""
        for node in chosen.selections:
            match node:
                case FieldNode():
                    yield node
                case InlineFragmentNode():
                    yield from cls.fields_of(node.selection_set, fragments)
                case FragmentSpreadNode():
                    definition = fragments.get(node.name.value)
                    if definition:
                        yield from cls.fields_of(definition.selection_set, fragments)
