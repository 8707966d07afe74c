"""Server-sent events, bytes in, events out.  No I/O."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from .errors import ConnectionLostError

EVENT_MAX = 64 * 1024 * 1024


class Event(NamedTuple):
    event: str
    data: bytes


class Parser:
    """``feed()`` it with bytes as they come."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._event = "message"
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        *lines, rest = piece.split(b"\n")

        for line in lines:
            self._rest.append(line)
            whole = b"".join(self._rest).removesuffix(b"\r")
            self._rest.clear()

            if event := self._line(whole):
                yield event

        if rest:
            self._rest.append(rest)

        self._size += len(piece)

        if self._size > EVENT_MAX:
            raise ConnectionLostError("an event of the stream is too long",
                                      "CONNECTION_LOST", limit=EVENT_MAX)

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._event, b"\n".join(self._data)) \
                if self._data else None
            self._event, self._data, self._size = "message", [], 0

            return event

        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")

        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

        return None
