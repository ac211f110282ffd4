"""The pages that are made of the program are what the program is."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.support import wiretape, wiretape_json
from tests.docs.cookbook import Kitchen, filled
from tests.docs.json_page import PRINTED, check, unexplained, unused
from tests.docs.pages import COOKBOOK, PAGES, ROOT, skill
from tests.docs.reference_pages import command_of, every_command
from tests.jobs.live import Shop
from tests.mcpserver.test_tools import SNAPSHOTS
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.main import COMMANDS
from wiretape.mcpserver.tools import TOOLSETS

AGAIN = "it is out of date: python -m tests.docs writes it anew"
TOOLS = [spec.name for specs in TOOLSETS.values() for spec in specs]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_what_the_program_says(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path](), AGAIN


def test_every_output_of_the_cookbook_is_what_its_command_shows(
    tmp_path: Path, shop: Shop, origin_ca: OriginCA
) -> None:
    page = COOKBOOK.read_text(encoding="utf-8")
    assert filled(page, Kitchen(tmp_path, shop, origin_ca)).split("\n") == page.split("\n"), AGAIN
    assert (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8") == page, AGAIN
    assert (ROOT / "skills" / "wiretape" / "SKILL.md").read_text(encoding="utf-8") == skill(page), AGAIN


# -- json.md -----------------------------------------------------------------------------------------------------------


def test_every_key_is_explained() -> None:
    assert not unexplained(), "say it in a docstring: in the class's, or in one below the field"


def test_every_word_is_said_of_some_key() -> None:
    assert not unused(), "nothing has a key of that name, or its class says it"


def test_every_command_with_json_is_on_the_page() -> None:
    with_json = {name for name, command in every_command() if any(one.name == "as_json" for one in command.params)}
    assert set(PRINTED) == with_json


INVOCATIONS = """
sessions
show bad
query bad --limit 2
query bad --group-by host
query bad "~c 422" --follow
grep bad amount_mismatch
sql bad "SELECT seq, url FROM exchanges LIMIT 2"
exchange bad:31
exchange bad:20
exchange crash:27
diff good bad --noise-from good-run
diff good:31 bad:31 --noise
explain bad:31
explain crash:27
endpoints bad
endpoints good bad
trace bad:31 X-Csrf-Token
trace bad --value 29314
body bad:8 --shape
body bad:8 --path /data/0/price
body bad:8 --grep Parka
body bad:15
messages bad
llm bad
llm bad:20
cat bad "~seq 29..32"
secrets bad
handshakes bad
export bad --format har --redact
export bad:31 --format curl
export good bad --format openapi
send bad:31 --set /payment/amount=34790
verify bad
verify crash
recover crash
parity bad
pin bad
pin bad --off
prune --older-than 30d --dry-run
ca show
guide llm
doctor
status
completion bash
stop
"""


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, shop: Shop, origin_ca: OriginCA) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"), shop, origin_ca)


@pytest.mark.parametrize("line", INVOCATIONS.strip().splitlines())
def test_a_document_has_the_keys_of_the_page_and_no_other(kitchen: Kitchen, line: str) -> None:
    words = shlex.split(line)
    as_json = [] if words[0] == "cat" else ["--json"]
    done = wiretape(*words, *as_json, env={"WIRETAPE_ROOT": str(kitchen.root)})
    assert done.stdout, done.stderr.decode()
    for document in map(json.loads, done.stdout.splitlines()):
        check(words[0], document)


def test_the_documents_of_a_running_daemon_have_the_keys_of_the_page(
    tmp_path: Path, shop: Shop, origin_ca: OriginCA
) -> None:
    root = tmp_path / "root"
    with Daemon(root, "--upstream-ca", str(origin_ca.pem)) as daemon:
        check("serve", daemon.ready)
        check("status", wiretape_json("status", "--root", root))
        check("mark", wiretape_json("mark", "here", "--root", root))
        for words in (
            ("rules add", "--mock", "503", "--host", "a.example"),
            ("rules list",),
            ("rules test", "http://b.example/"),
            ("rules preview", "last"),
            ("rules disable", "rule_1"),
        ):
            check(words[0], wiretape_json(*words[0].split(), *words[1:], "--root", root))
        check("stop", wiretape_json("stop", "--root", root))


def test_what_run_import_and_delete_print_has_the_keys_of_the_page(tmp_path: Path, kitchen: Kitchen) -> None:
    root = tmp_path / "root"
    check("run", json.loads(wiretape("run", "--json", "--root", root, "--", "true").stdout))
    har = tmp_path / "x.har"
    assert wiretape("export", "good", "-o", har, "--root", kitchen.root).returncode == 0
    check("import", wiretape_json("import", har, "--root", root))
    check("delete", wiretape_json("delete", "last", "--yes", "--root", root))
    problem = wiretape_json("show", "nobody", "--root", root, status=1)
    assert problem.keys() == {"status", "code", "message", "hint"}


# -- the reference -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_has_a_schema_an_entry_and_a_test(tool: str, called: set[str]) -> None:
    assert (SNAPSHOTS / f"{tool}.json").exists()
    assert f"\n### {tool}\n" in (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    assert tool in called, "no test calls it"


@pytest.fixture(scope="module")
def called() -> set[str]:
    """The tools that tests call: named first in a call, or in a pair with their arguments."""
    found: set[str] = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= set(_named(node))
    return found


def _named(node: ast.AST) -> list[str]:
    first: Any = None
    if isinstance(node, ast.Call) and node.args:
        first = node.args[0]
        if not isinstance(first, ast.Constant) and len(node.args) > 1:
            first = node.args[1]
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and isinstance(node.elts[1], ast.Dict):
        first = node.elts[0]
    return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_entry_with_examples(name: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    entry = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"wiretape {name}" in entry
    assert isinstance(command_of(name), click.Command)
    assert "Examples:" in entry
