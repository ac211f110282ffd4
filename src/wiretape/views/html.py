"""HTML as an outline: what a page is and offers, without its layout.

Tags are read as a browser's tokenizer reads them (https://html.spec.whatwg.org/multipage/parsing.html#tokenization) and
no tree is built: every parser that was tried takes minutes for 100,000 nested elements or attributes of one element.
"""

from __future__ import annotations

import re
from html import unescape
from itertools import islice
from typing import Any, Final

from wiretape.views.limits import MAX_PARSED, ViewError

_ATTRIBUTE: Final = r"[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+(?:\"|$)|'[^']*+(?:'|$)|[^\s>\"'][^\s>]*+)?)?"
_TAG: Final = re.compile(
    rf"<!--(?:.*?-->|.*+)|<[!?][^>]*+>?|<(/?)([A-Za-z][^\s/>]*+)((?:[\s/]++|{_ATTRIBUTE})*+)(?:>|$)", re.DOTALL
)
_ATTRIBUTES: Final = re.compile(r"([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^\s>]*+)))?")
_RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "title", "textarea")
}
_HEADINGS: Final = frozenset({"h1", "h2", "h3"})
_FIELDS: Final = frozenset({"input", "select", "textarea"})
_MOST: Final = 30
_MOST_KEPT: Final = 1_000
_TEXT: Final = 160


class _Outline:
    """Takes tags and texts in their order."""

    def __init__(self) -> None:
        self.title = ""
        self.meta: dict[str, str] = {}
        self.lists: dict[str, list[Any]] = {"headings": [], "forms": [], "links": [], "scripts": []}
        self.more = dict.fromkeys(self.lists, 0)
        self.inline_scripts = 0
        self.characters = 0
        self._heading: list[str] | None = None
        self._form: dict[str, Any] | None = None
        self._links: set[str] = set()

    def begin(self, tag: str, given: str, raw: str) -> None:
        """Take a start tag with its attributes, and the text of one that has nothing else in it."""
        if tag in _HEADINGS:
            self._heading = [tag]
        elif tag == "title":
            self.title = self.title or _words(unescape(raw))
        elif tag in {"meta", "link"}:
            self._about(_attributes(given))
        elif tag == "form" or tag in _FIELDS:
            self._form_part(tag, _attributes(given))
        elif tag in {"a", "script"}:
            self._link(tag, _attributes(given))

    def _about(self, given: dict[str, str]) -> None:
        if given.get("name") == "description":
            self.meta["description"] = _words(given.get("content", ""))
        elif given.get("rel") == "canonical":
            self.meta["canonical"] = _words(given.get("href", ""))

    def _form_part(self, tag: str, given: dict[str, str]) -> None:
        if tag == "form":
            method = given.get("method", "get").upper()[:20]
            self._form = {"method": method, "action": _words(given.get("action", "")), "fields": []}
            self._add("forms", self._form)
        elif self._form is not None and "name" in given and len(self._form["fields"]) < _MOST:
            self._form["fields"].append(_words(f"{given['name']}:{given.get('type', tag)}"))

    def _link(self, tag: str, given: dict[str, str]) -> None:
        link = _words(given.get("src" if tag == "script" else "href", ""))
        if tag == "script":
            self.inline_scripts += not link
        if link and link not in self._links and len(self._links) < _MOST_KEPT:
            self._links.add(link)
            self._add("scripts" if tag == "script" else "links", link)

    def end(self, tag: str) -> None:
        """Take an end tag."""
        if tag in _HEADINGS and self._heading is not None:
            self._add("headings", _words(" ".join(self._heading)))
            self._heading = None
        elif tag == "form":
            self._form = None

    def text(self, text: str) -> None:
        """Take text between tags."""
        text = " ".join(unescape(text).split())
        self.characters += len(text)
        if self._heading is not None and text and len(self._heading) < _MOST:
            self._heading.append(text)

    def _add(self, name: str, value: Any) -> None:
        if len(self.lists[name]) < _MOST:
            self.lists[name].append(value)
        else:
            self.more[name] += 1

    def value(self) -> dict[str, Any]:
        """Return all of it, without what there is none of."""
        found: dict[str, Any] = {"title": self.title} if self.title else {}
        found |= self.meta
        for name, values in self.lists.items():
            if values:
                found[name] = values
            if self.more[name]:
                found[f"{name}Left"] = self.more[name]
        if self.inline_scripts:
            found["inlineScripts"] = self.inline_scripts
        return found | {"textCharacters": self.characters}


def read_html(text: str) -> dict[str, Any]:
    """Return a page's title, headings, forms with their fields, links, scripts, and how much text it has.

    Raises:
        ViewError: it is too long to be taken apart.
    """
    if len(text) > MAX_PARSED:
        raise ViewError(
            f"This page has {len(text):,} characters; up to {MAX_PARSED:,} are taken apart",
            hint="view text shows it as it is",
        )
    outline, at = _Outline(), 0
    while (found := _TAG.search(text, at)) is not None:
        outline.text(text[at : found.start()])
        at = found.end()
        if found[2] is None:
            continue
        tag = found[2].lower()
        if found[1]:
            outline.end(tag)
            continue
        raw = ""
        if tag in _RAW:
            closed = _RAW[tag].search(text, at)
            end = closed.start() if closed else len(text)
            raw, at = text[at:end][: 10 * _TEXT] if tag == "title" else "", end
        outline.begin(tag, found[3], raw)
    outline.text(text[at:])
    return outline.value()


def _attributes(given: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in islice(_ATTRIBUTES.finditer(given), 100):
        found.setdefault(one[1].lower(), unescape(one[2] or one[3] or one[4] or ""))
    return found


def _words(text: str) -> str:
    text = " ".join(text[: 20 * _TEXT].split())
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
