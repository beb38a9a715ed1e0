"""Rendezvous hashing: each key prefers one member, and all keys together are spread evenly over the members.

If a member is lost, only its keys move, each to the next in its own order. All processes that know the same members
choose alike, whatever the order in which they list them, so no state has to be shared.
"""

from collections.abc import Sequence
from hashlib import blake2b


class Rendezvous:
    """The members among which keys choose. Each is given by its name or digest, which must differ from the others."""

    __slots__ = ("_hashes",)

    def __init__(self, members: Sequence[bytes]) -> None:
        self._hashes = [blake2b(member, digest_size=8) for member in members]

    def first(self, key: bytes) -> int:
        """Return the position of the member that this key prefers."""
        weights = self._weights(key)
        return weights.index(max(weights))

    def order(self, key: bytes) -> list[int]:
        """Return the positions of all members, in the order in which this key prefers them."""
        weights = self._weights(key)
        return sorted(range(len(weights)), key=weights.__getitem__, reverse=True)

    def _weights(self, key: bytes) -> list[bytes]:
        weights = []
        for started in self._hashes:
            one = started.copy()
            one.update(key)
            weights.append(one.digest())
        return weights
