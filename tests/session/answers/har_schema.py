"""HAR 1.2 as a JSON schema, from its specification (http://www.softwareishard.com/blog/har-12-spec/)."""

from __future__ import annotations

from typing import Any

TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": -1}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    names = {**required, **optional}
    return {
        "type": "object",
        "required": list(required),
        "properties": {**names, "comment": TEXT},
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


PAIR = _object({"name": TEXT, "value": TEXT})
COOKIE = _object(
    {"name": TEXT, "value": TEXT},
    path=TEXT,
    domain=TEXT,
    expires=TIME,
    httpOnly={"type": "boolean"},
    secure={"type": "boolean"},
    sameSite=TEXT,
)
POSTED = _object({"mimeType": TEXT, "text": TEXT}, params=_list(_object({"name": TEXT}, value=TEXT)))
MESSAGE = {
    "httpVersion": TEXT,
    "cookies": _list(COOKIE),
    "headers": _list(PAIR),
    "headersSize": INTEGER,
    "bodySize": INTEGER,
}
REQUEST = _object({"method": TEXT, "url": TEXT, "queryString": _list(PAIR), **MESSAGE}, postData=POSTED)
CONTENT = _object({"size": INTEGER, "mimeType": TEXT}, compression={"type": "integer"}, text=TEXT, encoding=TEXT)
RESPONSE = _object({"status": INTEGER, "statusText": TEXT, "content": CONTENT, "redirectURL": TEXT, **MESSAGE})
TIMINGS = _object(
    {"send": {"type": "number", "minimum": 0}, "wait": {"type": "number", "minimum": 0}, "receive": NUMBER},
    blocked=NUMBER,
    dns=NUMBER,
    connect=NUMBER,
    ssl=NUMBER,
)
ENTRY = _object(
    {
        "startedDateTime": TIME,
        "time": NUMBER,
        "request": REQUEST,
        "response": RESPONSE,
        "cache": {},
        "timings": TIMINGS,
    },
    serverIPAddress=TEXT,
    connection=TEXT,
)
HAR = _object(
    {
        "log": _object(
            {"version": TEXT, "creator": _object({"name": TEXT, "version": TEXT}), "entries": _list(ENTRY)},
            pages=_list({}),
        )
    }
)
