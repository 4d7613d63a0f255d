"""Which error of a group to show."""

from __future__ import annotations

from dth.errors import DthError


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours in a group, or in groups within it; the first of any kind where none is ours."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, DthError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
