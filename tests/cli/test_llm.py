"""``wiretape llm``: a table of calls, a conversation as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.cli.support import wiretape, wiretape_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("llm") / "root"
    recording = Recording(new_session(root, "shop"))
    asked = {"model": "gpt-shop", "messages": [{"role": "user", "content": "Hi \x1b[31m"}]}
    body = json.dumps(asked).encode()
    seq = recording.open("https://api.openai.com/v1/chat/completions", method="POST", body=body)
    call = {"id": "c", "function": {"name": "buy", "arguments": '{"n":1}'}}
    answer = {
        "choices": [{"message": {"content": "Hello.", "tool_calls": [call]}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 3},
    }
    recording.done(seq, json.dumps(answer).encode(), headers="Content-Type: application/json\r\n", request=body)
    recording.exchange()
    recording.close()
    return root


def test_a_session_is_a_table_with_totals(made: Path) -> None:
    done = wiretape("llm", "shop", "--root", made)
    assert done.stdout.decode().splitlines()[1].split("\t") == [
        "1", "openai.chat", "gpt-shop", "1200", "-", "3", "12", "-", "tool_calls", "buy",
    ]  # fmt: skip
    assert b"1 call: 1,200 tokens in (0 cached), 3 out" in done.stderr
    assert wiretape_json("llm", "shop", "--root", made)["totals"]["input"] == 1200


def test_one_call_is_its_conversation(made: Path) -> None:
    text = wiretape("llm", "shop:1", "--root", made).stdout.decode()
    assert text.startswith("openai.chat  gpt-shop  tool_calls  12 ms\ntokens: input 1,200, output 3\n")
    assert "user:\nHi \\x1b[31m\n" in text
    assert 'answer:\nHello.\ncalls buy({"n":1})\n' in text
    assert wiretape_json("llm", "shop:1", "--root", made)["output"]["text"] == "Hello."


def test_what_is_no_call_is_told(made: Path) -> None:
    done = wiretape("llm", "shop:2", "--root", made)
    assert (done.returncode, b"not a call of a language model" in done.stderr) == (1, True)
