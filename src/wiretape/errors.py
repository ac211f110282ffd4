"""Every error wiretape raises on purpose, in one tree.

    WiretapeError
    ├── UsageError            what was asked for cannot be done as asked (exit status 2)
    ├── NotFoundError         no such session, exchange, file or daemon
    ├── BusyError             held by another process (names its pid)
    ├── StorageError          the file system refused (names path and cause)
    ├── LogError
    │   ├── LogVersionError   a log of a newer format
    │   └── DamagedError      bytes that do not check (names segment, offset, length)
    ├── NetworkError          a peer could not be reached or broke off
    ├── ProtocolError         a message that HTTP forbids or that is ambiguous
    └── DaemonError           the daemon could not be started or did not answer

Each carries a ``code`` for programs, a sentence that names the thing and where it is, and a ``hint``: what to do next.
Foreign exceptions (OSError, ssl.SSLError, ...) are mapped to these once, at the edge where they occur.
"""

from __future__ import annotations


class WiretapeError(Exception):
    """Base of all errors that wiretape raises on purpose.

    Args:
        message: one sentence naming the thing and where it is.
        hint: what to do next, or ``""``.
        code: a stable identifier for programs; the class's own ``code`` when not given.
    """

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_json(self) -> dict[str, str]:
        """Return the error as ``{"code", "message", "hint"}`` for programs."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(WiretapeError):
    """What was asked for cannot be done as asked."""

    code = "usage"
    exit_status = 2


class NotFoundError(WiretapeError):
    """The named session, exchange, file or daemon does not exist."""

    code = "not-found"


class BusyError(WiretapeError):
    """The thing is held by another process; ``pid`` is its process id, 0 when unknown."""

    code = "busy"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, pid: int = 0) -> None:
        super().__init__(message, hint=hint, code=code)
        self.pid = pid


class StorageError(WiretapeError):
    """The file system refused; the message names the path and the cause."""

    code = "storage"


class LogError(WiretapeError):
    """A log cannot be read as it is."""

    code = "log"


class LogVersionError(LogError):
    """The log was written in a format version this program does not know."""

    code = "log-version"


class DamagedError(LogError):
    """Bytes of a log do not check.

    ``segment``, ``offset`` and ``length`` say where: the segment's file name, and bytes in it. ``length`` is None where
    nothing says how far it goes, and all three are unset ("" and None) where it is no place in one segment.
    """

    code = "damaged"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        segment: str = "",
        offset: int | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.segment = segment
        self.offset = offset
        self.length = length


class NetworkError(WiretapeError):
    """A peer could not be reached, refused, or broke off."""

    code = "network"


class ProtocolError(WiretapeError):
    """A message that HTTP forbids, or whose length is ambiguous (RFC 9112 section 6.3).

    ``status`` is the status code that a client which sent it should be given; ``pieces`` are those of a body that were
    read before the fault in the same bytes.
    """

    code = "protocol"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, status: int = 400) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status
        self.pieces: list[bytes] = []


class DaemonError(WiretapeError):
    """The daemon could not be started, is not running, or did not answer."""

    code = "daemon"
