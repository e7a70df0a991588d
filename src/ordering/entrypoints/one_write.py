"""An answer in one write."""

from typing import Any


class OneWrite:
    """The transport that one request's answer is written to: its head waits for the first of its body, so that both
    leave in one system call and one packet. What is streamed behind them leaves piece by piece.

    uvicorn writes the head alone, and uvloop sends at once whatever is written: two calls of the system for a short
    answer, and two packets.
    """

    __slots__ = ("_begun", "_head", "to")

    def __init__(self, to: Any, *, has_body: bool) -> None:  # noqa: ANN401 -- a transport, or what stands in for one
        self.to = to
        """Where it goes; may be exchanged until it is closed."""
        self._head = b""
        self._begun = not has_body

    def write(self, data: bytes) -> None:
        """Send the data, unless it is the first: that is kept for the next call."""
        if self._begun:
            if self._head:
                data, self._head = self._head + data, b""
            self.to.write(data)
        else:
            self._head, self._begun = data, True

    def is_closing(self) -> bool:
        """Whether the connection ends already."""
        return bool(self.to.is_closing())

    def close(self) -> None:
        """End the connection behind what was written."""
        if self._head:
            self.to.write(self._head)
            self._head = b""
        self.to.close()
