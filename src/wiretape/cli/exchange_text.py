"""One exchange as text for people: what was asked and answered first, bodies laid out, noise counted."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, Literal

from wiretape.cli.output import size_text, styled, visible, wants_colour, write_line
from wiretape.errors import WiretapeError

if TYPE_CHECKING:
    from wiretape.model import ExchangeDetail, Message
    from wiretape.session.answers.lean import Headers
    from wiretape.session.session import Session

LINES: Final = 100
"""Lines of a body that are shown; the rest is one command away."""
_WIDE: Final = 2_000
"""Characters of one line that are shown: minified files have lines of megabytes."""
_JSON: Final = re.compile(r'("(?:[^"\\]|\\.)*+")(\s*:)?|(?<![\w"])(true|false|null|-?\d[\d.eE+-]*)')
_COLOURS: Final = {"2": "bright_black", "3": "cyan", "4": "yellow", "5": "red"}
Side = Literal["request", "response"]


def print_exchange(session: Session, seq: int, address: str, headers: Headers) -> None:
    """Print one exchange.

    Args:
        session: where it is.
        seq: which one.
        address: how the reader named it, for the commands that show more.
        headers: ``all`` shows every header, TLS and addresses.
    """
    detail = session.exchange(seq, bodies=False)
    write_line(_first_line(detail))
    write_line(visible(_second_line(detail, address)))
    for line in _rules(detail):
        write_line(styled(visible(line), "yellow"))
    for sentence in detail.notes:
        write_line(styled(visible(f"note: {sentence}"), "yellow"))
    if detail.request is not None:
        _print_message(session, detail, "request", address, headers)
    if detail.response is not None:
        write_line()
        response = detail.response
        write_line(_status(f"{response.status_code or ''} {response.status_message or ''}".strip()))
        _print_message(session, detail, "response", address, headers)
        if detail.error is not None:
            write_line()
            write_line(styled(visible(f"The answer broke off: {detail.error['message']}"), "red"))
    else:
        from wiretape.session.answers.lean import no_response  # noqa: PLC0415

        write_line()
        write_line(styled(visible(no_response(detail)), "red"))
    _print_around(detail, headers)


def _rules(detail: ExchangeDetail) -> list[str]:
    """Return a line for each rule that acted, and one for what went on in the place of what came."""
    lines = []
    for rule in detail.rules or []:
        said = [part for part in (rule.description, rule.note) if isinstance(part, str)]
        lines.append(f"{rule.id} ({rule.stage}){': ' if said else ''}{'; '.join(said)}")
    sent, received = detail.sent_request, detail.received_response
    if sent and sent.url:
        lines.append(f"sent to the server: {sent.method} {sent.url}")
    if received:
        lines.append(f"received from the server: {received.status_code or ''} {received.status_message or ''}".rstrip())
    if sent or received:
        lines.append("--json has both sides whole")
    return lines


def _first_line(detail: ExchangeDetail) -> str:
    """``POST /api/v2/checkout  422 Unprocessable Entity  1 ms  305 B up  251 B down  10:44:38.898``"""
    request, response = detail.request, detail.response
    parts = [f"{request.method} {_path(request.url or '')}" if request is not None else "(request lost)"]
    if response is not None:
        parts.append(_status(f"{response.status_code or '???'} {response.status_message or ''}".strip()))
    else:
        parts.append(styled(detail.state, "red"))
    if detail.timings.total is not None:
        parts.append(f"{detail.timings.total:,.0f} ms")
    for message, way in ((request, "up"), (response, "down")):
        if message is not None:
            parts.append(f"{size_text(message.body_size)} {way}")
    if detail.messages:
        parts.append(f"{detail.messages:,} messages")
    return "  ".join([visible(parts[0]), *parts[1:], _clock(detail.timestamp)])


def _second_line(detail: ExchangeDetail, address: str) -> str:
    request = detail.request
    where = "" if request is None or request.url is None else request.url[: len(request.url) - len(_path(request.url))]
    version = request.http_version if request is not None else ""
    return "  ".join(part for part in (address, where, version, detail.state) if part and part != "complete")


def _path(url: str) -> str:
    _, separator, rest = url.partition("://")
    slash = rest.find("/")
    return rest[slash:] if separator and slash >= 0 else "/" if separator else url


def _clock(milliseconds: int) -> str:
    from datetime import datetime  # noqa: PLC0415

    try:
        moment = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"@{milliseconds}"
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:{'%H:%M:%S' if today else '%Y-%m-%d %H:%M:%S'}}.{milliseconds % 1000:03d}"


def _status(text: str) -> str:
    return styled(visible(text), _COLOURS.get(text[:1], "white"))


def _print_message(session: Session, detail: ExchangeDetail, side: Side, address: str, headers: Headers) -> None:
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.lean import lean_headers  # noqa: PLC0415

    message = detail.request if side == "request" else detail.response
    assert message is not None
    shown, left = lean_headers(message.headers, every=headers == "all", at=detail.timestamp, veil=UNVEILED)
    if shown or left:
        write_line()
    for name, value in [*shown, *message.trailers]:
        write_line(f"{styled(visible(name), 'cyan')}: {visible(value)}")
    if left:
        write_line(styled(f"({left} headers more: --headers all)", "bright_black"))
    if message.unparsed is True:
        raw = message.raw if isinstance(message.raw, str) else message.raw_base64
        write_line(visible(str(raw)[:_WIDE], keep="\n\t"))
    if message.body_size:
        write_line()
        _print_body(session, detail.seq, message, side, address)


def _print_body(session: Session, seq: int, message: Message, side: Side, address: str) -> None:
    from wiretape.session.answers.whole_body import read_whole  # noqa: PLC0415

    which = f"{address} request" if side == "request" else address
    try:
        body = read_whole(session, seq, side, message=message)
    except WiretapeError as error:
        write_line(styled(visible(f"{error.message}."), "yellow"))
        return
    text, is_json = _laid_out(body.data, body.type, body.text)
    if text is None:
        write_line(f"({size_text(message.body_size)} that are not text: `wiretape body {visible(which)} -o FILE`)")
    else:
        _print_lines(text, which, coloured=is_json)
    if body.missing is not None:
        write_line(styled(visible(body.missing), "yellow"))


def _laid_out(data: bytes, content_type: str | None, text: str | None) -> tuple[str | None, bool]:
    """Return a body as lines for people, and whether they are JSON."""
    from wiretape.views.choose import choose, see  # noqa: PLC0415
    from wiretape.views.json_text import write_json  # noqa: PLC0415
    from wiretape.views.limits import ViewError  # noqa: PLC0415

    view = choose(content_type, data)
    if view == "image":
        found = see("image", data, content_type, text)
        size = f", {found['width']} x {found['height']}" if "width" in found else ""
        return f"({found['type']}{size}, {size_text(len(data))})", False
    if view in {"hex", "text", "html", "sse", "jwt"}:
        return (None if view == "hex" else text), False
    try:
        return write_json(see(view, data, content_type, text), indent=2), True
    except ViewError:
        return text, False


def _print_lines(text: str, which: str, *, coloured: bool) -> None:
    lines = text.splitlines() or [""]
    for line in lines[:LINES]:
        shown = visible(line[:_WIDE], keep="\t")
        shown = _coloured(shown) if coloured else shown
        if len(line) > _WIDE:
            shown += f"… {len(line) - _WIDE:,} characters more in this line"
        write_line(shown)
    if len(lines) > LINES:
        write_line(styled(f"… {len(lines) - LINES:,} lines more: `wiretape body {visible(which)}`", "bright_black"))


def _coloured(line: str) -> str:
    if not wants_colour(sys.stdout):
        return line

    def paint(found: re.Match[str]) -> str:
        if found[3] is not None:
            return styled(found[3], "yellow")
        return styled(found[1], "blue") + found[2] if found[2] else styled(found[1], "green")

    return _JSON.sub(paint, line)


def _print_around(detail: ExchangeDetail, headers: Headers) -> None:
    """Print timings, and TLS and addresses where they were asked for or something failed."""
    names = ("dns", "connect", "tls", "send", "wait", "receive", "total")
    spent = [f"{name} {value:.1f}" for name in names if (value := getattr(detail.timings, name)) is not None]
    write_line()
    if spent:
        write_line(styled(f"timings (ms): {', '.join(spent)}", "bright_black"))
    if headers != "all" and detail.error is None:
        return
    ends = [f"{name} {end}" for name, end in (("client", detail.client), ("server", detail.server)) if end]
    if ends:
        write_line(visible(", ".join(ends)))
    for side, handshake in (detail.tls or {}).items():
        told = [
            f"{key} {value['message'] if key == 'error' else value}"
            for key, value in handshake.items()
            if value and key in {"version", "cipher", "alpn", "sni", "verified", "error"}
        ]
        write_line(visible(f"TLS towards the {side}: {', '.join(told)}"))
