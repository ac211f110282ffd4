"""``wiretape rules`` against a real daemon, and what a recording shows of what they did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.demo.stage import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that records, and cannot read the rules that were kept."""
    root = tmp_path_factory.mktemp("rules") / "root"
    root.mkdir(mode=0o700)
    (root / "rules.json").write_text("no json")
    with Daemon(root, "--session", "mine") as made:
        yield made


def test_rules_are_added_tried_followed_shown_and_removed(daemon: Daemon, http_origin: Origin, tmp_path: Path) -> None:
    root = ("--root", str(daemon.root))
    body = tmp_path / "body.json"
    body.write_text('{"down": true}')
    mock = ("--url", "/bytes", "--mock", "503", "--body", f"@{body}")
    added = wiretape_json("rules", "add", *mock, "--description", "down", "--times", "1", *root)
    assert added["rule"]["id"] == "rule_1"
    header = ("--filter", "~m GET", "--header", "X-Mine: yes", "--header", "Accept:", "--response-header", "X-Seen: 1")
    assert wiretape("rules", "add", *header, *root).returncode == 0
    tried = wiretape("rules", "test", http_origin.url("/bytes/3"), *root).stdout.decode()
    assert "Who decides: answer: rule_1, request: rule_2, response: rule_2" in tried
    host, _, port = daemon.address.rpartition(":")
    with RawClient.plain((host, int(port))) as client:
        answers = [client.get(http_origin.url("/bytes/3"), host=http_origin.authority) for _ in range(2)]
    assert [(answer.status, answer.header("X-Seen")) for answer in answers] == [(503, None), (200, "1")]
    assert http_origin.requests_for("/bytes/3")[0].header_values("X-Mine") == ["yes"]
    listed = wiretape_json("rules", "list", *root)
    assert [(rule["id"], rule["hitCount"]) for rule in listed["rules"]] == [("rule_1", 1), ("rule_2", 1)]
    assert [row["seq"] for row in wiretape_json("query", "mine", "~rule rule_1", *root)["items"]] == [1]
    shown = wiretape("exchange", "mine", "2", *root).stdout.decode()
    assert "rule_2 (request)" in shown
    assert f"sent to the server: GET {http_origin.url('/bytes/3')}" in shown
    preview = wiretape("rules", "preview", "mine", "--drop", "--method", "GET", *root).stdout.decode()
    assert "2 of 2 exchanges would be acted on." in preview
    for what in ("disable", "enable", "remove"):
        assert wiretape("rules", what, "rule_1", *root).stdout.decode() == f"rule_1 is {what.removesuffix('e')}ed\n"
    assert "rule_1" not in wiretape("rules", "list", *root).stdout.decode()


def test_p11_why_rules_that_were_kept_are_not_there_is_said_in_text_and_in_json(daemon: Daemon) -> None:
    root = ("--root", str(daemon.root))
    assert "rules.json cannot be read" in wiretape_json("rules", "list", *root)["note"]
    assert "rules.json cannot be read" in wiretape("rules", "list", *root).stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "(", "--drop"), "matcher.urlPattern"),
        (("--drop", "--block"), "one rule does one thing"),
        (("--host", "h"), "no handler"),
        (("{",), "not JSON"),
        (('{"handler": {"type": "forward"}}',), "handler.forwardTo"),
        (("--header", "no colon"), "not a header"),
        (("--mock", "200", "--body", "@/nowhere"), "/nowhere"),
    ],
)
def test_a_rule_that_means_nothing_is_wrong_usage(daemon: Daemon, arguments: tuple[str, ...], said: str) -> None:
    refused = wiretape("rules", "add", *arguments, "--root", str(daemon.root))
    assert refused.returncode == 2
    assert said in refused.stderr.decode()
