"""A Store in memory with a clock of its own, which calls back before each change: to be killed there, or joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from holdfast.state.store.objects import Missing, Stored, StoreError


class Killed(BaseException):
    """The process ends here."""


class MemoryStore:
    """See objects.Store. `before_change(act, name)` is called before each put and delete."""

    def __init__(self, at: float = 1_790_000_000.0) -> None:
        self.where = "memory"
        self.at = at
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.before_change: Callable[[str, str], None] = lambda act, name: None

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        whole = data if isinstance(data, bytes) else b"".join(data)
        self.before_change("put", name)
        if name in self.objects:
            return False
        self.objects[name] = (whole, self.at)
        return True

    def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise Missing(f"{name} is not in {self.where}", lasting=True)
        return self.objects[name][0]

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        data = self.get(name)
        if any(offset + length > len(data) for offset, length in wanted):
            raise StoreError(f"{name} ends early", lasting=True)
        return [data[offset : offset + length] for offset, length in wanted]

    def size(self, name: str) -> int:
        return len(self.get(name))

    def list(self, prefix: str) -> Iterator[Stored]:
        for name in [one for one in self.objects if one.startswith(prefix)]:
            if name in self.objects:
                data, changed_at = self.objects[name]
                yield Stored(name, len(data), changed_at)

    def delete(self, name: str) -> None:
        self.before_change("delete", name)
        self.objects.pop(name, None)

    def damage(self, name: str, at: int = -20) -> None:
        """Turn one bit."""
        data, changed_at = self.objects[name]
        spoiled = bytearray(data)
        spoiled[at] ^= 1
        self.objects[name] = (bytes(spoiled), changed_at)
