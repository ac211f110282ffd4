"""The one way in which wiretape's processes talk: lines of JSON, requests with ids, answers that carry them.

- a request: ``{"id": 7, "cmd": "record", ...}``; without ``id`` nobody waits for an answer
- its answer: ``{"id": 7, "ok": true, ...}`` or ``{"id": 7, "ok": false, "error": {"code", "message", "hint"}}``
- an event, which nobody asked for: ``{"event": "damage", ...}``

Answers may come in another order than the requests. ``messages`` has the lines, ``blocking`` one end without an event
loop, ``peer`` one end in a loop. Daemon and recorder, daemon and maintenance, commands and daemon use it.
"""
