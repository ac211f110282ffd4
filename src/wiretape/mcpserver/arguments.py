"""Arguments that several tools share, described once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from wiretape.errors import UsageError
from wiretape.mcpserver.schema import HIDDEN
from wiretape.mcpserver.tool import Call
from wiretape.session.ids import split_address
from wiretape.session.query.ordering import read_order

_PEM: Final = "give the path of a PEM file"
TRUST: Final = "upstream_ca names a PEM file of one that you trust"
"""What to do about a server whose issuer is not known."""
_STATUS: Final = re.compile(r"[1-9][0-9]{2}|[1-9][xX]{2}", re.ASCII)
"""A status code, or a class of them."""


def hidden() -> Any:
    """Return the mark of an argument that is accepted and not listed: what other tools call the same, or few need."""
    return Field(json_schema_extra={HIDDEN: True})


def _status(code: str) -> str:
    if not _STATUS.fullmatch(code):
        raise ValueError("takes a number such as 404 or a class such as 4xx")
    return code.lower()


def _order(order: str) -> str:
    try:
        read_order(order)
    except UsageError as error:
        raise ValueError(f"takes asc, desc or a column ({error.hint})") from None
    return order


def _text_of(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SessionId = Annotated[str, Field(description='Session: id, name, or "last"')]
SomeSession = Annotated[str | None, Field(description='Session: id, name, or "last"; default the live one')]
SessionName = Annotated[str | None, Field(description="A name to find it by")]
CaptureProfile = Annotated[
    Literal["preview", "full"], Field(description="preview keeps only the first 4 KB of each body")
]
StorageDir = Annotated[str | None, hidden()]
MaxDisk = Annotated[float, Field(gt=0, le=2**40, description="MB; what comes later passes, and is counted")]
Limit = Annotated[int, Field(ge=1, le=1000, description="At most; max_tokens may allow fewer")]
Offset = Annotated[int, Field(ge=0, le=2**53, json_schema_extra={HIDDEN: True})]
Cursor = Annotated[str | None, Field(description="nextCursor of the answer before")]
Sort = Annotated[Literal["asc", "desc"], Field(description="desc: newest first")]
Order = Annotated[
    str | None,
    AfterValidator(lambda order: None if order is None else _order(order)),
    Field(
        description="asc, desc, or a column: ms, status, ms:asc",
        json_schema_extra={"default": "desc"},
    ),
]
"""None where it is not given: what is since a moment is then read from there on."""
Expression = Annotated[
    str | None, Field(description="mitmproxy's filter, also ~err, ~c 4xx, ~ms >1000, ~st failed, ~json /p=v")
]
SameExpression = Annotated[str | None, Field(description="As in proxy_query_session")]
HiddenText = Annotated[str | None, hidden()]
Since = Annotated[str | None, Field(description="ISO time, -5m, seq or mark; also until")]
GroupBy = Annotated[str | None, Field(description="Count by host, status, type, path, ...")]
Method = Annotated[str | None, Field(description="POST")]
HostContains = Annotated[str | None, Field(description="Part of the host")]
UrlContains = Annotated[str | None, Field(description="Part of the URL")]
StatusCode = Annotated[
    str | None,
    BeforeValidator(_text_of),
    AfterValidator(lambda code: None if code is None else _status(code)),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "description": "404 or 4xx"}),
]
Timestamp = Annotated[int | None, Field(json_schema_extra={HIDDEN: True})]
Text = Annotated[str | None, Field(description="Text in URL, headers or decoded bodies")]
IncludeBody = Annotated[bool, Field(description="Give the bodies")]
ExchangeId = Annotated[str | None, Field(description="An exchangeId, or SESSION:SEQ")]
Exchange = Annotated[str | None, Field(description='Which one: "bad:31", "last:31"')]
HeadersWanted = Annotated[Literal["lean", "all"], Field(description="all: every header whole, TLS, addresses")]
Format = Annotated[Literal["columns", "objects"], Field(description="objects: a row is an object, with exchangeId")]
MaxTokens = Annotated[int | None, Field(ge=200, le=50_000, description="Most the answer may cost; default 2000")]


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
            hint="leave storage_dir out: all sessions lie in one root, where recovery finds them",
            code="storage-dir",
        )


def existing_file(name: str, path: str | None) -> Path | None:
    """Return the file that an argument names.

    Raises:
        UsageError: it is not there.
    """
    if path is None:
        return None
    try:
        file = Path(path).expanduser().absolute()
        found = file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a folder that may not be read, a home of nobody
        raise UsageError(f"{name}: {path[:80]!r} is not a path of a file: {error}", hint=_PEM) from error
    if not found:
        raise UsageError(f"{name}: there is no file {str(file)[:400]}", hint=_PEM)
    return file


async def one_exchange(
    call: Call,
    *,
    exchange: str | None = None,
    session_id: str | None = None,
    seq: int | None = None,
    exchange_id: str | None = None,
) -> tuple[str, int]:
    """Return the session's id and the seq of the exchange that is meant, however it is named.

    Args:
        call: whose daemon.
        exchange: ``SESSION:SEQ``, an exchangeId, or a seq of ``session_id``.
        session_id: the session; the live one where nothing names any.
        seq: the number in it, which wins over ``exchange_id`` as in proxy-mcp.
        exchange_id: as ``exchange``.

    Raises:
        UsageError: nothing names one, or two things name different ones. NotFoundError: there is no such session.
    """
    named = exchange if exchange is not None else exchange_id if seq is None else None
    if named is None and seq is None:
        raise UsageError("no exchange is named", hint='pass exchange, such as "last:31", or session_id and seq')
    address = split_address(named) if named is not None else None
    number = address.seq if address is not None else seq or 0
    own = address.session if address is not None else None
    found = await session_or_live(call, own if own is not None else session_id)
    if own is not None and session_id is not None and await call.service.library.resolve(session_id) != found:
        raise UsageError(f"exchange {named} is not of session {session_id}", hint="leave session_id out")
    return found, number


async def session_or_live(call: Call, session_id: str | None) -> str:
    """Return the id of the session that is meant; None is the one that is recorded now, or was last.

    Raises:
        NotFoundError: there is none.
    """
    if session_id is not None:
        return await call.service.library.resolve(session_id)
    return await call.service.live_session()
