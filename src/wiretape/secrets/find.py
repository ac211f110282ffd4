"""Finding secrets in one value: by the name that it goes by, and by what it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from wiretape.secrets.names import kind_of
from wiretape.secrets.patterns import EMAIL, PATTERNS

MAX_VALUE: Final = 16 * 1024
"""Characters of one secret at most: what is longer is content."""

_SCHEMES: Final = frozenset(
    {"bearer", "basic", "token", "apikey", "digest", "negotiate", "ntlm", "hawk", "hmac", "dpop"}
)
_HANDLE: Final = re.compile(r"\{\{[a-z][a-z0-9-]*:[0-9a-f]{6,}\}\}")
_SHORTEST: Final = {"password": 1, "card-code": 1, "otp": 1, "credential": 4, "secret": 4, "session": 8}
"""Characters of a secret of a kind at least; what is shorter is a word, such as ``"session": "open"``."""
_OWN_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}", re.ASCII).fullmatch
"""The id of one of our sessions: an agent whose traffic is recorded writes it, and it is nobody's secret."""
_EMPTY: Final = frozenset({"", "null", "none", "undefined", "true", "false", "string", "required", "redacted", "xxx"})
_QUOTE: Final = re.compile(r"""\\*["']""")
_UNQUOTED: Final = re.compile(r"""[^\s&;,"'<>(){}\[\]|\\]+""")
_NAMED: Final = (
    r"(?i)[A-Za-z0-9_.\-]*(?:passw|passphrase|pwd|secret|token|key|sess|sid|credential|assertion|signature|sig|verifier"
    r"|cvv|cvc|otp|auth|csrf|xsrf|jwt|cardnumber|ccnumber|passcode|samlresponse|verificationcode|mfacode)"
    r"[A-Za-z0-9_\-]*\\*[\"']?(?:%3[dD]|[ \t]*(?:=>?|:)[ \t]*)"
)
"""A name, and what stands between it and its value."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]+")
_USERINFO: Final = r"[a-z][a-z0-9+.\-]*://[^/\s:@\"'<>]*:[^/\s@\"'<>]+@"
_PEM: Final = "-----BEGIN [A-Z ]*PRIVATE KEY-----"
_PEM_END: Final = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_CARD: Final = r"[3-6][0-9]{3}[ \-]?(?:[0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]{4}|[0-9]{6}[ \-]?[0-9]{4,5})"
_ADDRESS: Final = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+"


class Found(NamedTuple):
    """A secret in a text: its kind, and where it stands."""

    kind: str
    start: int
    end: int


@lru_cache(maxsize=1)
def _compiled() -> tuple[Any, Any, Any]:
    """Compile the expressions when the first text comes: RE2 is loaded late."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.max_mem = 64 << 20
    options.encoding = re2.Options.Encoding.LATIN1  # bytes: RE2 would encode a text again for each search
    formats = "|".join(f"{one.prefix}{one.rest}" for one in PATTERNS)
    # No \b: with it RE2 takes 25 times as long; what stands before a match is looked at when there is one.
    everything = re2.compile(f"{formats}|{_PEM}|{_CARD}|{_USERINFO}|{_NAMED}".encode(), options)
    address = re2.compile(_ADDRESS.encode(), options)
    kinds = tuple((re2.compile(f"{one.prefix}{one.rest}"), one) for one in PATTERNS)
    return everything, address, kinds


def in_text(text: str) -> list[Found]:
    """Find the secrets in a text, in its order: known formats, ``name=value`` where the name tells, logins in URLs."""
    everything, _, _ = _compiled()
    data = text.encode("utf-8", "surrogatepass")
    # Where all is ASCII, bytes and characters count alike; else the bytes are looked at as so many characters.
    plain = len(data) == len(text)
    view = text if plain else data.decode("latin-1")
    found: list[Found] = []
    at = 0
    while (match := everything.search(data, at)) is not None:
        start, end = match.span()
        shown = _HANDLE.match(view, start - 2) if view.startswith("{{", start - 2) else None
        if shown is not None:
            at = shown.end()
            continue
        one = _one(view, start, end)
        if one is not None:
            found.append(one)
            at = max(one.end, start + 1)
        else:
            # A name may hide a format: go on behind its first character that is no letter.
            at = max(start + 1, _behind_name(view, start, end))
    return found if plain else _in_characters(data, found)


def _in_characters(data: bytes, found: list[Found]) -> list[Found]:
    """Turn places in bytes into places in the text."""
    moved, at, characters = [], 0, 0
    for kind, start, end in found:
        characters += len(data[at:start].decode("utf-8", "surrogatepass"))
        size = len(data[start:end].decode("utf-8", "surrogatepass"))
        moved.append(Found(kind, characters, characters + size))
        characters, at = characters + size, end
    return moved


def _behind_name(text: str, start: int, end: int) -> int:
    name = _NAME.match(text, start)
    return min(end, name.end()) if name is not None else start + 1


def _one(text: str, start: int, end: int) -> Found | None:
    """Say what a match of the whole expression is."""
    whole = text[start:end]
    kind = format_of(whole)
    if kind is not None:
        return None if start and _in_word(text[start - 1]) and whole[0].isalnum() else Found(kind, start, end)
    if whole.startswith("-----BEGIN"):
        close = _PEM_END.search(text, end)
        return Found("private-key", start, close.end() if close else len(text))
    if whole[0].isdigit() and is_card(whole):
        free = start == 0 or not (text[start - 1].isalnum() or text[start - 1] in "._-/")
        return Found("card", start, end) if free and not text[end : end + 1].isalnum() else None
    if whole.endswith("@") and "://" in whole:
        colon = start + whole.index(":", whole.index("://") + 3)
        return Found("password", colon + 1, end - 1)
    name = _NAME.match(whole)
    kind = kind_of(name[0].rpartition(".")[2]) if name is not None else None
    return _value_after(text, end, kind) if kind is not None else None


def _in_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def _value_after(text: str, at: int, kind: str) -> Found | None:
    """Return the value that follows a name."""
    quote = _QUOTE.match(text, at)
    if quote is not None:
        begin = quote.end()
        end = _closing(text, begin, quote[0])
    else:
        value = _UNQUOTED.match(text, at)
        if value is None:
            return None
        begin, end = value.span()
        if value[0].lower() in _SCHEMES:
            following = _UNQUOTED.match(text, end + 1)
            if following is None or text[end] not in " \t":
                return None
            begin, end = following.span()
    return _checked(text, begin, end, kind)


def _closing(text: str, begin: int, quote: str) -> int:
    """Return where a quoted value ends: at its quote, which no more backslashes precede than the first one."""
    at = begin
    while True:
        at = text.find(quote[-1], at)
        if at < 0 or at - begin > MAX_VALUE:
            return begin
        slashes = 0
        while at - slashes > begin and text[at - slashes - 1] == "\\":
            slashes += 1
        if slashes <= len(quote) - 1 or slashes % 2 == 0:
            return at - min(slashes, len(quote) - 1)
        at += 1


def _checked(text: str, begin: int, end: int, kind: str) -> Found | None:
    value = text[begin:end]
    if not is_secret_value(value, kind):
        return None
    scheme, space, rest = value.partition(" ")
    if space and scheme.lower() in _SCHEMES:
        begin, value = end - len(rest), rest
    return Found(format_of(value) or kind, begin, end)


def is_secret_value(value: str, kind: str) -> bool:
    """Return whether what goes by a secret's name can be one: it is there, and no handle, word or placeholder."""
    if not value or len(value) > MAX_VALUE or value.lower() in _EMPTY or set(value) <= {"*", "."}:
        return False
    if "{{" in value and _HANDLE.search(value) is not None:
        return False
    if value.lower() in _SCHEMES or _OWN_ID(value) is not None:
        return False
    return len(value) >= _SHORTEST.get(kind, 5)


def format_of(value: str) -> str | None:
    """Return the kind of a value that is wholly of one known format."""
    if len(value) < 12:
        return None
    _, _, kinds = _compiled()
    best: str | None = None
    length = 0
    for expression, one in kinds:
        if len(value) >= one.least and len(one.prefix) > length and expression.fullmatch(value) is not None:
            best, length = one.kind, len(one.prefix)
    return best


def is_card(text: str) -> bool:
    """Return whether digits are a card's number: a known length for its first digits (ISO/IEC 7812), the right sum."""
    digits = text.replace(" ", "").replace("-", "")
    if not _of_a_brand(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and len(set(digits)) > 1


def _of_a_brand(digits: str) -> bool:
    size, first = len(digits), digits[:2]
    if size == 16:
        return digits[0] == "4" or "51" <= first <= "55" or first in {"60", "62", "64", "65", "35"}
    return (size == 15 and first in {"34", "37"}) or (size == 14 and first in {"30", "36", "38"})


def addresses(text: str) -> Iterator[Found]:
    """Yield the e-mail addresses in a text."""
    if "@" in text:
        _, address, _ = _compiled()
        data = text.encode("utf-8", "surrogatepass")
        found = [Found(EMAIL, *match.span()) for match in address.finditer(data)]
        yield from found if len(data) == len(text) else _in_characters(data, found)


def in_field(name: str, value: str) -> list[Found]:
    """Find the secrets in the text of a named field: the whole of it where the name says so."""
    kind = kind_of(name)
    if kind is not None:
        one = _checked(value, 0, len(value), kind)
        if one is not None:
            return [one]
    return in_text(value)


def in_header(name: str, value: str) -> list[Found]:
    """Find the secrets in a header's value."""
    lower = name.lower().strip()
    if lower in {"authorization", "proxy-authorization"}:
        return _in_authorization(value)
    if lower == "cookie":
        return [one for begin, end in _pieces(value) for one in _in_cookie(value, begin, end)]
    if lower == "set-cookie":
        first = next(_pieces(value), None)
        return _in_cookie(value, *first) if first is not None else []
    return in_field(lower.removeprefix("x-"), value)


def _in_authorization(value: str) -> list[Found]:
    scheme, space, rest = value.partition(" ")
    begin = len(scheme) + 1 if space else 0
    secret = rest if space else value
    begin += len(secret) - len(secret.lstrip())
    secret = secret.strip()
    if not is_secret_value(secret, "password"):
        return []
    # One word for all schemes but Basic: the same token may stand elsewhere by its name, and has one handle.
    kind = format_of(secret) or ("basic" if scheme.lower() == "basic" else "token")
    return [Found(kind, begin, begin + len(secret))]


def _pieces(value: str) -> Iterator[tuple[int, int]]:
    """Yield where the parts between semicolons stand."""
    at = 0
    for part in value.split(";"):
        yield at, at + len(part)
        at += len(part) + 1


def _in_cookie(value: str, begin: int, end: int) -> list[Found]:
    name, equals, content = value[begin:end].partition("=")
    content = content.rstrip()
    if not equals:
        return []
    start = begin + len(name) + 1
    if content[:1] == content[-1:] == '"' and len(content) > 1:
        start, content = start + 1, content[1:-1]
    kind = kind_of(name.strip())
    if not is_secret_value(content, "cookie") or (kind is None and len(content) < 6):
        return []
    return [Found(format_of(content) or kind or "cookie", start, start + len(content))]
