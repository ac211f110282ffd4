"""Arguments that several tools share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from wiretape.errors import UsageError

SessionId = Annotated[
    str, Field(description='A session\'s id, its name, an unambiguous beginning of its id, or "last" for the newest')
]
SessionName = Annotated[str | None, Field(description="A name to find the session by")]
CaptureProfile = Annotated[
    Literal["preview", "full"], Field(description="preview: the first 4 KB of each body; full: bodies whole")
]
StorageDir = Annotated[
    str | None, Field(description="Leave out: all sessions of a daemon lie in its root, where recovery finds them")
]
MaxDisk = Annotated[
    float, Field(gt=0, le=2**40, description="MB the recording may take; what comes later passes and is counted")
]
Limit = Annotated[int, Field(ge=1, le=1000, description="How many at most; the answer's size may allow fewer")]
Offset = Annotated[int, Field(ge=0, le=2**53, description="How many to leave out first; the cursor is better")]
Cursor = Annotated[
    str | None, Field(description="nextCursor of the answer before, with the same other arguments, for what follows")
]
Sort = Annotated[Literal["asc", "desc"], Field(description="desc: newest first")]
Method = Annotated[str | None, Field(description="Only this method, such as POST")]
HostContains = Annotated[str | None, Field(description="Only hosts that contain this")]
UrlContains = Annotated[str | None, Field(description="Only URLs that contain this")]
StatusCode = Annotated[int | None, Field(ge=100, le=999, description="Only this status code")]
Timestamp = Annotated[int | None, Field(description="Milliseconds since the epoch, inclusive")]
Text = Annotated[str | None, Field(description="Only exchanges with this in URL, headers or decoded bodies")]
IncludeBody = Annotated[bool, Field(description="Give the bodies, decoded, as far as the answer's size allows")]
ExchangeId = Annotated[str, Field(description="An exchangeId as lists give it: <sessionId>.<seq>")]


def max_bytes(megabytes: float) -> int:
    """Turn the MB of an argument into bytes."""
    return max(1, int(megabytes * 1024 * 1024))


def refuse_storage_dir(storage_dir: str | None, root: Path) -> None:
    """Refuse to put a session where recovery and the other tools would not find it.

    Raises:
        UsageError: another folder than the daemon's own is asked for.
    """
    if storage_dir is not None and Path(storage_dir).expanduser().absolute() not in {root, root / "sessions"}:
        raise UsageError(
            f"storage_dir {storage_dir!r} is not this daemon's folder {root / 'sessions'}",
            hint="leave storage_dir out, or start the server with `wiretape mcp --root DIR`",
            code="storage-dir",
        )


def status_text(code: int | None) -> str | None:
    """Return a status code as the filter takes it."""
    return None if code is None else str(code)
