"""From the text of a filter to its tree: a tokenizer and a parser of a few lines, as the language is small.

The grammar is mitmproxy's: ``!`` binds closest, then ``&``, then ``|``; parts that merely stand side by side are joined
by *and*, looser than ``|``. A word ends at white space, a bracket, a quotation mark or ``~``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

from wiretape.errors import UsageError
from wiretape.filters.catalogue import NOT_RECORDED, OPERATORS
from wiretape.filters.operators import Url
from wiretape.filters.patterns import PatternError
from wiretape.filters.tree import And, Node, Not, Operator, Or

MAX_LENGTH: Final = 8192
"""Characters of a filter."""
MAX_DEPTH: Final = 100
MAX_PARTS: Final = 1000
EXAMPLES: Final = ("~m POST & ~c 5xx", "~d example.com & !~ts image", "~err | ~ms >1000")

_TOKEN: Final = re.compile(r"\s+|(?P<sign>[!&|()])|(?P<operator>~[^\s()~'\"!&|]*)|(?P<quote>['\"])")
_WORD: Final = re.compile(r"[^\s()~'\"]+")
_SIGNS: Final = frozenset("!&|")
_SHOWN: Final = 60
"""Characters of a long filter that an error shows before and behind the place."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """Read a filter.

    Raises:
        UsageError: it is none; the message points at the character, the hint has examples. ``code`` is ``filter``.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(
            f"The filter has {len(text)} characters; {MAX_LENGTH} are allowed", hint=_hint(), code="filter"
        )
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("The filter is not valid text", hint="give it as UTF-8", code="filter")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._parts = 0

    def parse(self) -> Node:
        if len(self._tokens) == 1:
            raise _wrong(self._text, 0, "The filter is empty")
        node = self._beside(0)
        token = self._peek()
        if token.kind != "end":
            raise _wrong(self._text, token.at, "There is no bracket that this one closes")
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _beside(self, depth: int) -> Node:
        parts = [self._any(depth)]
        while self._peek().kind not in {"end", ")"}:
            parts.append(self._any(depth))
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _any(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._peek().kind == "|":
            self._take()
            parts.append(self._all(depth))
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _all(self, depth: int) -> Node:
        parts = [self._one(depth)]
        while self._peek().kind == "&":
            self._take()
            parts.append(self._one(depth))
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self, depth: int) -> Node:
        token = self._take()
        self._parts += 1
        if depth > MAX_DEPTH:
            raise _wrong(self._text, token.at, f"More than {MAX_DEPTH} brackets and negations stand in each other")
        if self._parts > MAX_PARTS:
            raise _wrong(self._text, token.at, f"The filter has more than {MAX_PARTS} parts")
        match token.kind:
            case "!":
                return Not(self._one(depth + 1))
            case "(":
                node = self._beside(depth + 1)
                if self._take().kind != ")":
                    raise _wrong(self._text, token.at, "This bracket is never closed")
                return node
            case "operator":
                return self._operator(token)
            case "word":
                return self._read(Url, token, token.text)
            case "end":
                raise _wrong(self._text, token.at, "Something is missing at the end")
        raise _wrong(self._text, token.at, f"{token.text!r} has nothing on its left that it could join")

    def _operator(self, token: _Token) -> Node:
        operator = OPERATORS.get(token.text)
        if operator is None:
            raise _unknown(self._text, token)
        if not operator.takes:
            return operator.read("")
        value = self._peek()
        if value.kind != "word":
            wanted = f"{token.text} needs a value: {operator.help}. Example: {operator.example}"
            raise _wrong(self._text, value.at, wanted)
        return self._read(operator, self._take(), value.text)

    def _read(self, operator: type[Operator], token: _Token, value: str) -> Node:
        try:
            return operator.read(value)
        except (ValueError, PatternError) as error:
            raise _wrong(self._text, token.at, f"{operator.symbols[0]}: {error}") from None


def _tokens(text: str) -> list[_Token]:
    """Split a filter into signs, operators and words; the last token is its end."""
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        valued = bool(found) and found[-1].kind == "operator" and _takes_value(found[-1].text)
        word = _WORD.match(text, at)
        # A value may hold signs, as regular expressions do, and be of nothing else as little as they.
        if word is not None and (match is None or (valued and match["sign"] and not _SIGNS.issuperset(word[0]))):
            end = _word_end(text, word.end())
            found.append(_Token("word", text[at:end], at))
            at = end
            continue
        assert match is not None
        if match["quote"]:
            value, end = _quoted(text, at)
            found.append(_Token("word", value, at))
            at = end
        else:
            if match["sign"] or match["operator"]:
                found.append(_Token(match["sign"] or "operator", match[0], at))
            at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _takes_value(symbol: str) -> bool:
    operator = OPERATORS.get(symbol)
    return operator is not None and bool(operator.takes)


def _word_end(text: str, end: int) -> int:
    """Leave a sign that stands between a word and what is no word to what it joins: ``POST&~c 200``."""
    follows = text[end : end + 1]
    while follows in {"~", "(", "'", '"'} and text[end - 1] in "&|!":
        end -= 1
    return end


def _quoted(text: str, at: int) -> tuple[str, int]:
    """Read a quoted value; a backslash takes its meaning from a quotation mark and from a backslash alone."""
    quote, value, here = text[at], [], at + 1
    while here < len(text):
        char = text[here]
        if char == "\\" and text[here + 1 : here + 2] in {"'", '"', "\\"}:
            value.append(text[here + 1])
            here += 2
        elif char == quote:
            return "".join(value), here + 1
        else:
            value.append(char)
            here += 1
    raise _wrong(text, at, "This quotation mark is never closed")


def _unknown(text: str, token: _Token) -> UsageError:
    reason = NOT_RECORDED.get(token.text)
    if reason is not None:
        return _wrong(text, token.at, f"There is no operator {token.text}: {reason}")
    near = difflib.get_close_matches(token.text, OPERATORS, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return _wrong(text, token.at, f"There is no operator {token.text}{hint}")


def _hint() -> str:
    return f"examples: {';  '.join(EXAMPLES)}"


def _wrong(text: str, at: int, problem: str) -> UsageError:
    """Say what is wrong and show where."""
    # Whole words: a part of one could be a part of a secret, which nobody would recognise.
    begin, end = text.rfind(" ", 0, max(0, at - _SHOWN)) + 1, text.find(" ", at + _SHOWN)
    end = len(text) if end < 0 else end
    shown = "".join(char if char.isprintable() else " " for char in text[begin:end])
    before, behind = "..." if begin else "", "..." if end < len(text) else ""
    caret = " " * (len(before) + at - begin) + "^"
    ending = "" if problem.endswith("?") else "."
    return UsageError(
        f"{problem}{ending} At character {at + 1}:\n  {before}{shown}{behind}\n  {caret}", hint=_hint(), code="filter"
    )
