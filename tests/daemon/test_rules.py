"""The rules of a root: all or nothing, kept on wish, tried on what was recorded; and through a real recorder (P16)."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.clients import RawClient
from harness.logs import Recording, new_session
from harness.origin import Origin
from wiretape.daemon import rules_file
from wiretape.daemon.rules import FILE, Rules
from wiretape.daemon.service import Service
from wiretape.errors import NotFoundError, StorageError, UsageError
from wiretape.mcpserver.hints import hint_for_tools
from wiretape.model import Filter
from wiretape.secrets.veil import UNVEILED
from wiretape.settings import Address, SessionSettings, UpstreamSettings

MOCK: dict[str, Any] = {"handler": {"type": "mock", "status": 503}}
EDIT = {"handler": {"type": "passthrough", "transformRequest": {"updateHeaders": {"X-Mine": "1"}}}}


def with_rules(root: Path, do: Callable[[Rules], Awaitable[None]]) -> None:
    """Do something with the rules of a root."""

    root.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def run() -> None:
        await do(Rules(root))

    asyncio.run(run())


def test_rules_are_numbered_and_listed_as_they_are_tried(root: Path) -> None:
    async def do(rules: Rules) -> None:
        await rules.add(MOCK)
        await rules.add({**MOCK, "priority": 10})
        made = await rules.add(MOCK)
        assert (made["id"], made["hitCount"], made["enabled"]) == ("rule_3", 0, True)
        await rules.update("rule_1", {"description": "another", "matcher": {"hostname": "h"}})
        listed = await rules.listed()
        assert [one["id"] for one in listed] == ["rule_2", "rule_1", "rule_3"]
        assert (listed[1]["description"], listed[1]["matcher"]) == ("another", {"hostname": "h"})
        await rules.remove("rule_3")
        assert (await rules.add(MOCK))["id"] == "rule_4"

    with_rules(root, do)


def test_p16_what_is_refused_changes_nothing(root: Path) -> None:
    async def do(rules: Rules) -> None:
        await rules.add(MOCK)
        before = await rules.listed()
        with pytest.raises(UsageError, match=r"matcher\.urlPattern"):
            await rules.add({**MOCK, "matcher": {"urlPattern": "("}})
        with pytest.raises(UsageError, match=r"handler\.forwardTo"):
            await rules.update("rule_1", {"handler": {"type": "forward"}})
        with pytest.raises(UsageError, match="enabled"):
            await rules.update("rule_1", {"enabled": False})
        with pytest.raises(UsageError, match="revision"):
            await rules.add({**MOCK, "revision": 7})
        with pytest.raises(NotFoundError, match="rule_9"):
            await rules.remove("rule_9")
        with pytest.raises(NotFoundError, match="rule_9"):
            await rules.enable("rule_9", True)
        assert await rules.listed() == before

    with_rules(root, do)


def test_rules_that_are_to_persist_are_there_again_and_nobody_else_can_read_them(root: Path) -> None:
    async def first(rules: Rules) -> None:
        await rules.add(MOCK)
        await rules.add({**EDIT, "persist": True, "times": 3})

    async def second(rules: Rules) -> None:
        assert [one["id"] for one in await rules.listed()] == ["rule_2"]
        assert (await rules.add(MOCK))["id"] == "rule_3"
        await rules.remove("rule_2")

    async def third(rules: Rules) -> None:
        assert await rules.listed() == []

    with_rules(root, first)
    assert stat.S_IMODE((root / FILE).stat().st_mode) == 0o600
    with_rules(root, second)
    with_rules(root, third)


@pytest.mark.parametrize("content", [b"no json", b"{}", b'{"made": 1, "rules": [{"handler": {"type": "x"}}]}', b"[]"])
def test_a_file_of_rules_that_cannot_be_read_is_said_and_left(root: Path, content: bytes) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_bytes(content)

    async def do(rules: Rules) -> None:
        assert await rules.listed() == []
        assert rules.note is not None
        assert str(root / FILE) in rules.note

    with_rules(root, do)
    assert (root / FILE).read_bytes() == content


def test_a_made_up_request_is_tried_rule_by_rule(root: Path) -> None:
    async def do(rules: Rules) -> None:
        await rules.add({**MOCK, "matcher": {"method": "POST", "bodyIncludes": "x"}})
        await rules.add({**MOCK, "matcher": {"hostname": "a.example"}, "priority": 7, "description": "mine"})
        await rules.add(EDIT)
        await rules.enable("rule_2", False)
        found = await rules.tested({"url": "http://a.example/p?q"}, include_disabled=True, limit=None)
        assert [(one.rule_id, one.matched, one.eligible) for one in found.results] == [
            ("rule_2", True, False),
            ("rule_1", False, False),
            ("rule_3", True, True),
        ]
        assert found.results[1].checks["method"].passed is False
        assert found.results[1].checks["hostname"].applies is False
        assert (found.matched_count, found.effective_match_count, found.total_rules) == (2, 1, 3)
        assert found.effective_winner is not None
        assert found.effective_winner.rule_id == "rule_3"
        assert found.winners == {"request": "rule_3"}
        fewer = await rules.tested({"url": "http://a.example/"}, include_disabled=False, limit=1)
        assert (fewer.evaluated_count, [one.rule_id for one in fewer.results]) == (1, ["rule_1"])
        for wrong in (
            {},
            {"url": "/p"},
            {"url": "http://h/", "colour": 1},
            {"url": "http://h/", "headers": {"a": "\n"}},
        ):
            with pytest.raises(UsageError, match="the request's"):
                await rules.tested(wrong, include_disabled=True, limit=None)

    with_rules(root, do)


def test_p16_a_file_of_rules_is_followed_when_it_is_saved_and_a_wrong_one_changes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_file, "LOOK_EVERY", 0.01)
    path = tmp_path / "rules.toml"
    mock = '[[rule]]\nhandler = { type = "mock", status = %d }\n'

    async def do(rules: Rules) -> None:
        await rules.add(MOCK)
        file = rules_file.RulesFile(path, rules)
        with pytest.raises(UsageError, match=r"rules\.toml: it cannot be read"):
            await file.load()
        path.write_text(mock % 500)
        await file.load()
        assert [one["id"] for one in await rules.listed()] == ["file_1", "rule_1"]
        watching = asyncio.create_task(file.watch())

        async def until(what: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while not what():
                    await asyncio.sleep(0.01)

        path.write_text(mock % 501 + mock % 502)
        await until(lambda: rules.count == 3)
        for wrong in ("no toml", mock % 9999, "other = 1", '[[rule]]\nhandler = { type = "drop" }\npersist = true\n'):
            rules.file_note = None
            path.write_text(wrong)
            await until(lambda: rules.file_note is not None)
            assert str(path) in str(rules.note)
            assert rules.count == 3
        with pytest.raises(UsageError, match="file_1 is a rule of the file"):
            await rules.remove("file_1")
        path.write_text("")
        await until(lambda: rules.count == 1)
        await until(lambda: rules.note is None)
        watching.cancel()

    with_rules(root, do)


def test_p11_a_file_of_rules_that_is_mended_takes_back_what_was_said_of_it_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_file, "LOOK_EVERY", 0.01)
    root.mkdir(mode=0o700)
    (root / FILE).write_bytes(b"no json")
    path = tmp_path / "rules.toml"
    path.write_text("")

    async def do(rules: Rules) -> None:
        file = rules_file.RulesFile(path, rules)
        await file.load()
        watching = asyncio.create_task(file.watch())
        for text, said in (("no toml", True), ('[[rule]]\nhandler = { type = "drop" }\n', False)):
            path.write_text(text)
            async with asyncio.timeout(20):
                while (str(path) in (rules.note or "")) is not said:
                    await asyncio.sleep(0.01)
            assert str(root / FILE) in (rules.note or "")
        assert rules.count == 1
        watching.cancel()

    with_rules(root, do)


def test_a_preview_shows_what_would_have_changed_and_sends_nothing(root: Path) -> None:
    recording = Recording(new_session(root, "past"))
    for number in range(3):
        seq = recording.open(f"http://a.test/{number}")
        recording.done(seq, b'{"price": 1}', headers="Content-Type: application/json\r\n")
    recording.close()

    async def run() -> None:
        service = Service(root, UpstreamSettings())
        try:
            rules, library = service.rules, service.library
            changes = {"jsonSet": {"/price": 2}, "updateHeaders": {"X-New": "n"}, "replaceStatus": 500}
            rule = {
                "matcher": {"pathPattern": "/[12]$"},
                "handler": {"type": "passthrough", "transformResponse": changes},
            }
            session = await library.resolve("past")
            found = await rules.previewed(library, session, Filter(), rule_id=None, rule=rule, limit=1, veil=UNVEILED)
            assert (found.looked_at, found.matched, found.complete, found.not_decided) == (3, 2, True, 0)
            (one,) = found.exchanges
            assert (one.seq, one.would, one.rules) == (3, "changed", {"response": "the rule"})
            assert one.response
            assert one.response.status == (200, 500)
            assert one.response.headers == [("X-New", None, "n")]
            assert one.response.body == ('{"price": 1}', '{"price":2}')
            await rules.add({"matcher": {"urlPattern": "/0"}, **MOCK})
            all_of_them = await rules.previewed(
                library, session, Filter(), rule_id=None, rule=None, limit=9, veil=UNVEILED
            )
            assert [(one.seq, one.would) for one in all_of_them.exchanges] == [(1, "mocked")]
            assert all_of_them.by_rule == {"rule_1": 1}
            tested = await rules.tested_exchange(library, session, 1, include_disabled=True, limit=None, veil=UNVEILED)
            assert tested.winners == {"answer": "rule_1"}
        finally:
            await service.close()

    asyncio.run(run())


def test_p16_rules_reach_a_recorder_that_runs_and_one_that_takes_its_place(root: Path, http_origin: Origin) -> None:
    async def run() -> None:
        service = Service(root, UpstreamSettings(), loop="asyncio")
        try:
            await service.rules.add({**MOCK, "matcher": {"pathPattern": "^/bytes"}})
            started = await service.proxy_start(Address(host="127.0.0.1", port=0), SessionSettings())

            def get() -> int:
                with RawClient.plain(("127.0.0.1", started.port)) as client:
                    return client.get(http_origin.url("/bytes/3"), host=http_origin.authority).status

            assert await asyncio.to_thread(get) == 503
            await service.rules.enable("rule_1", False)
            assert await asyncio.to_thread(get) == 200
            await service.rules.enable("rule_1", True)
            await service.rules.update("rule_1", {"handler": {"type": "mock", "status": 418}})
            assert await asyncio.to_thread(get) == 418
            (rule,) = await service.rules.listed()
            assert rule["hitCount"] == 2
            status = await service.status()
            os.kill(status.recorder_pids[0], signal.SIGKILL)
            assert await asyncio.to_thread(get) == 418
            await service.proxy_stop()
            (rule,) = await service.rules.listed()
            assert rule["hitCount"] == 3
            page = await service.library.query("last", Filter(expression="~rule rule_1"))
            assert sorted(item.status_code or 0 for item in page.items) == [418, 418, 503]
        finally:
            await service.close()

    asyncio.run(run())


HOSTILE = {
    "a number that is too large": b'{"made": 1e999, "rules": []}',
    "lists in lists": b'{"made": 1, "rules": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "an id that is a path": b'{"made": 1, "rules": [{"id": "../../x", "handler": {"type": "mock"}}]}',
    "no id": b'{"made": 1, "rules": [{"handler": {"type": "mock"}}]}',
    "one id twice": b'{"made": 1, "rules": ['
    + b", ".join([b'{"id": "rule_1", "handler": {"type": "mock"}}'] * 2)
    + b"]}",
    "a rule that means nothing": b'{"made": 1, "rules": [{"id": "rule_1", "handler": {"type": "forward"}}]}',
    "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_p16_a_hostile_file_of_rules_is_named_does_no_harm_and_is_kept(root: Path, data: bytes) -> None:
    root.mkdir(mode=0o700)
    (root / FILE).write_bytes(data)

    async def do(rules: Rules) -> None:
        assert (rules.count, str(root / FILE) in (rules.note or "")) == (0, True)
        await rules.add({**MOCK, "persist": True})

    with_rules(root, do)
    assert (root / f"{FILE}.unread").read_bytes() == data
    assert Rules(root).count == 1


def test_p16_a_folder_in_the_place_of_the_rules_is_named(root: Path) -> None:
    (root / FILE).mkdir(mode=0o700, parents=True)
    assert str(root / FILE) in (Rules(root).note or "")


def test_the_numbers_of_rules_go_on_after_those_in_the_file(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / FILE).write_bytes(b'{"made": 0, "rules": [{"id": "rule_1", "handler": {"type": "mock"}}]}')

    async def do(rules: Rules) -> None:
        assert (await rules.add(MOCK))["id"] == "rule_2"

    with_rules(root, do)


def test_p16_a_rule_that_cannot_be_kept_is_not_followed_either(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def do(rules: Rules) -> None:
        await rules.add({**MOCK, "persist": True})

        def full(*_: Any) -> None:
            raise StorageError("no space left on device")

        monkeypatch.setattr("wiretape.daemon.rules.replace_file", full)
        with pytest.raises(StorageError):
            await rules.add({**EDIT, "persist": True})
        assert [one["id"] for one in await rules.listed()] == ["rule_1"]
        await rules.add(EDIT)
        assert rules.count == 2

    with_rules(root, do)


def test_a_command_is_named_to_who_has_commands_and_a_tool_to_who_has_tools(root: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Rules(root).find("rule_9")
    assert "`wiretape rules list`" in caught.value.hint
    assert hint_for_tools(caught.value) == "proxy_list_rules lists them: there are none"


class _Hiding:
    """Hides one value wherever it stands whole, as a model's veil does."""

    def header(self, name: str, value: str) -> str:
        return self.text(value)

    def field(self, name: str, value: str) -> str:
        return self.text(value)

    def text(self, text: str) -> str:
        return text.replace("hunter2", "{{password:1}}")


def test_p18_a_preview_does_not_show_a_secret_that_its_rule_takes_apart(root: Path) -> None:
    apart = {"find": "([a-z0-9])", "replaceWith": "$1 ", "regex": True, "all": True}
    edits = {"replaceBody": [apart], "replaceInHeaders": [{"name": "X-Mine", **apart}]}
    inside = {"replaceBody": [{"find": "hunter2", "replaceWith": "other"}]}
    recording = Recording(new_session(root, "past"))
    seq = recording.open("http://a.test/?p=hunter2")
    recording.done(seq, b"is hunter2 here", headers="Content-Type: text/plain\r\nX-Mine: hunter2\r\n")
    recording.close()

    async def run() -> None:
        service = Service(root, UpstreamSettings())
        try:
            session = await service.library.resolve("past")

            async def shown(**handler: Any) -> Any:
                rule = {"handler": {"type": "passthrough", **handler}}
                found = await service.rules.previewed(
                    service.library, session, Filter(), rule_id=None, rule=rule, limit=1, veil=_Hiding()
                )
                return found.exchanges[0]

            rewrite = {"match": "p=(.)(.*)", "replaceWith": "p=$1-$2"}
            one = await shown(rewriteUrl=rewrite, transformResponse=edits)
            assert one.would == "changed"
            assert one.request.url == ("http://a.test/?p={{password:1}}", "http://a.test/?p={-{password:1}}")
            assert one.response.body[1].startswith("i s  {{p a s s")
            assert one.response.headers[0][2].startswith("{{p a s s")
            other = await shown(transformResponse=inside)
            assert other.response.body == ("is {{password:1}} here", "(the change is in what is hidden)")
        finally:
            await service.close()

    asyncio.run(run())
