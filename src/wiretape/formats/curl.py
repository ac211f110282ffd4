"""Requests as curl commands, for sh and for PowerShell."""

from __future__ import annotations

import base64
import re
from typing import Final

from wiretape.formats.replayable import Request, Text, Variable, header, plain

_SAFE: Final = re.compile(r"[A-Za-z0-9 _.,:;/=@%+?&()*~<>|#-]*")
"""Letters that mean nothing between double quotes."""
_BARE: Final = re.compile(r"[A-Za-z0-9_./:=@%+,~-]+")


def curl(request: Request, shell: str = "sh") -> str:
    """Write a request as a command.

    Args:
        request: what to send.
        shell: ``sh`` or ``powershell`` (7.3 or newer).
    """
    write = _powershell if shell == "powershell" else _sh
    words, before, after = _words(request, shell, write)
    line = " ".join(words)
    note = f"# {_one_line(request.note)}\n" if request.note else ""
    return f"{note}{before}{line}{after}"


def _words(request: Request, shell: str, write: object) -> tuple[list[str], str, str]:
    assert callable(write)
    url = plain(request.url)
    words = ["curl.exe" if shell == "powershell" else "curl"]
    if any(char in url for char in "[]{}"):
        words.append("-g")  # these would be patterns
    words.append(write(request.url))
    as_json = _is_json(request)
    has_body = request.body is not None and request.body not in ((), b"")
    if request.method == "HEAD" and not has_body:
        words.append("-I")
    elif request.method != ("POST" if has_body else "GET"):
        words += ["-X", write((request.method,))]
    for name, value in request.headers:
        lower = name.lower()
        if as_json and lower in {"content-type", "accept"}:
            continue
        if lower == "cookie":
            words += ["-b", write(value)]
        else:
            words += ["-H", write((f"{name}: ", *value) if value else (f"{name};",))]
    words += _absent(request, has_body=has_body, as_json=as_json)
    if request.coded:
        words.append("--compressed")
    before = after = ""
    if has_body:
        before, option, after = _body(request, shell, write, as_json=as_json)
        words += option
    return words, before, after


def _absent(request: Request, *, has_body: bool, as_json: bool) -> list[str]:
    """Keep curl from sending what the request did not have."""
    words = []
    if not as_json and not header(request, "accept"):
        words += ["-H", "Accept:"]
    if has_body and not as_json and not header(request, "content-type"):
        words += ["-H", "Content-Type:"]
    return words


def _is_json(request: Request) -> bool:
    """Return whether ``--json`` says what the headers say: both types are those that it sets."""
    kind, accepted = header(request, "content-type"), header(request, "accept")
    body = request.body
    return (
        kind == "application/json"
        and accepted == "application/json"
        and isinstance(body, tuple)
        and not plain(body).startswith("@")
    )


def _body(request: Request, shell: str, write: object, *, as_json: bool) -> tuple[str, list[str], str]:
    """Return what stands before the command, the option, and what stands behind."""
    assert callable(write)
    body = request.body
    option = "--json" if as_json else "--data-binary"
    if isinstance(body, tuple) and not plain(body).startswith("@") and shell != "powershell":
        return "", [option, write(body)], ""
    data = body if isinstance(body, bytes) else plain(body or ()).encode("utf-8", "surrogatepass")
    coded = base64.b64encode(data).decode()
    if shell == "powershell":
        if isinstance(body, tuple):
            content = f"[IO.File]::WriteAllText($body, {write(body)})"
        else:
            content = f"[IO.File]::WriteAllBytes($body, [Convert]::FromBase64String('{coded}'))"
        return f"$body = New-TemporaryFile; {content}; ", [option, '"@$body"'], "; Remove-Item $body"
    return f"printf %s {coded} | base64 -d | ", [option, "@-"], ""


def _sh(text: Text) -> str:
    """Quote for sh: one word, whatever is in it."""
    if all(isinstance(part, str) for part in text):
        whole = plain(text)
        return whole if _BARE.fullmatch(whole) else _single(whole)
    if all(isinstance(part, Variable) or _SAFE.fullmatch(part) for part in text):
        return '"' + "".join(f"${{{part.name}}}" if isinstance(part, Variable) else part for part in text) + '"'
    return "".join(f'"${part.name}"' if isinstance(part, Variable) else _single(part) for part in text)


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _powershell(text: Text) -> str:
    if not any(isinstance(part, Variable) for part in text):
        return "'" + _doubled(plain(text)) + "'"
    inner = " + ".join(
        f"$env:{part.name}" if isinstance(part, Variable) else "'" + _doubled(part) + "'" for part in text
    )
    return f"({inner})"


def _doubled(text: str) -> str:
    # PowerShell takes typographic quotes for quotes, too.
    return re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def assignments(variables: list[Variable], shell: str, *, values: bool) -> str:
    """Write the lines that set variables, each with its origin; without values, they are to be filled in."""
    lines = []
    for one in variables:
        origin = _one_line(one.origin)
        if shell == "powershell":
            value = "'" + _doubled(one.value) + "'" if values else "''"
            lines.append(f"$env:{one.name} = {value}  # {origin}")
        else:
            lines.append(f"{one.name}={_single(one.value) if values else ''}  # {origin}")
    return "".join(line + "\n" for line in lines)
