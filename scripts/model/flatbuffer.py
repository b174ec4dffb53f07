"""The part of the FlatBuffers wire format that a TFLite file needs.

Source: https://flatbuffers.dev/internals/ (tables, vtables, vectors, strings; little-endian).
"""

import struct


class Table:
    """The table at `position` of `data`. Fields are read by their index in the schema."""

    def __init__(self, data: bytes, position: int):
        self._data = data
        self._position = position
        self._vtable = position - self._read("<i", position)
        self._vtable_size = self._read("<H", self._vtable)

    @classmethod
    def root(cls, data: bytes) -> "Table":
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def scalar(self, field: int, kind: str, default: int = 0) -> int:
        """`kind` is a `struct` letter: b int8, B uint8, i int32, I uint32."""
        at = self._field(field)
        return default if at is None else self._read("<" + kind, at)

    def table(self, field: int) -> "Table | None":
        at = self._field(field)
        return None if at is None else Table(self._data, self._follow(at))

    def tables(self, field: int) -> "list[Table]":
        start, count = self._vector(field)
        return [Table(self._data, self._follow(start + 4 * index)) for index in range(count)]

    def ints(self, field: int) -> "list[int]":
        start, count = self._vector(field)
        return list(struct.unpack_from(f"<{count}i", self._data, start))

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field)
        return self._data[start : start + count]

    def string(self, field: int) -> str:
        return self.bytes(field).decode("utf-8")

    def _read(self, form: str, at: int) -> int:
        return struct.unpack_from(form, self._data, at)[0]

    def _follow(self, at: int) -> int:
        return at + self._read("<I", at)

    def _field(self, field: int) -> "int | None":
        slot = 4 + 2 * field
        offset = self._read("<H", self._vtable + slot) if slot < self._vtable_size else 0
        return self._position + offset if offset else None

    def _vector(self, field: int) -> "tuple[int, int]":
        at = self._field(field)
        if at is None:
            return 0, 0
        start = self._follow(at)
        return start + 4, self._read("<I", start)
