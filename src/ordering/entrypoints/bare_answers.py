"""Whole answers, ready to be sent, to what no endpoint sees: a connection gives them itself and ends with them."""

from http import HTTPStatus
from typing import Final

import attrs

from ordering.application.failures import Overloaded, ShuttingDown
from ordering.domain.errors import Code
from ordering.entrypoints.http.problems import refusal, unread
from ordering.entrypoints.http.replies import Problem


@attrs.frozen
class BareAnswer:
    """``sent`` is all of it, status line and head included; ``code`` is that of its problem document."""

    status: int
    code: str
    sent: bytes


def _bare(problem: Problem) -> BareAnswer:
    status, lines = HTTPStatus(problem.status_code), [(b"connection", b"close"), *problem.head()]
    head = b"".join(b"%b: %b\r\n" % line for line in lines if line != (b"x-request-id", b""))
    first = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii"))
    return BareAnswer(status, problem.code, first + head + b"\r\n" + problem.body)


UNREADABLE: Final = _bare(unread(Code.MALFORMED_REQUEST, "This is no HTTP request that could be read"))
LATE: Final = _bare(unread(Code.REQUEST_TIMEOUT, "The request did not arrive in time"))
LONG: Final = _bare(unread(Code.HEAD_TOO_LARGE, "The request's head is too large"))
LEAVING: Final = _bare(refusal(ShuttingDown(), ""))
NO_SPACE: Final = _bare(refusal(Overloaded("too many bodies are on their way"), ""))
