"""Names that no two tensors, or no two nodes, share."""

from __future__ import annotations

from collections.abc import Iterable


class UniqueNames:
    """Gives out every name once; a name that is gone gets a number."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def take(self, base: str) -> str:
        """`base`, or `base_1`, `base_2` ... where it is taken."""
        name = base
        # Where many share a base, the search goes on from the last number.
        count = self._counts.get(base, 0)
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._counts[base] = count
        self._taken.add(name)
        return name

    def reserve(self, names: Iterable[str]) -> None:
        """Lets names count as taken."""
        self._taken.update(names)

    def release(self, name: str) -> None:
        """Lets a name be taken again."""
        self._taken.discard(name)
