"""Captured data is shown, never obeyed."""

from __future__ import annotations

import io
import json
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretape.cli.output import (
    many,
    print_json,
    print_table,
    size_text,
    styled,
    time_text,
    visible,
    width_of,
    write_line,
)


class Terminal(io.TextIOWrapper):
    """A stdout that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True


def is_safe(text: str) -> bool:
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} for char in text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("grün 漢字", "grün 漢字"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_characters_that_steer_a_terminal_become_escapes(raw: str, shown: str) -> None:
    assert visible(raw) == shown


@given(st.text(alphabet=st.characters()))
def test_no_text_keeps_a_control_or_format_character(text: str) -> None:
    assert is_safe(visible(text))


def test_text_of_several_lines_keeps_what_is_asked_for() -> None:
    assert visible("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_json_towards_a_terminal_is_ascii_and_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    document = {"url": "http://x/\x1b\x9b\u202e\x7f漢"}
    print_json(document)
    written = terminal.raw_bytes.getvalue()
    assert written.isascii()
    assert is_safe(written.decode().rstrip("\n"))
    assert json.loads(written) == document


def test_json_towards_a_pipe_is_one_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"a": "x\ny", "b": "漢"})
    assert capfdbinary.readouterr().out == '{"a":"x\\ny","b":"漢"}\n'.encode()


def test_json_stays_json_where_the_output_cannot_take_every_character(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe(Terminal):
        def isatty(self) -> bool:
            return False

    pipe = Pipe(encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", pipe)
    print_json({"a": "ä漢😀"})
    assert json.loads(pipe.raw_bytes.getvalue()) == {"a": "ä漢😀"}


def test_a_table_on_a_terminal_shows_captured_markup_and_controls_as_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table([("url", "left")], [["[red]x[/red]\x1b[2J"]], empty="nothing")
    shown = terminal.raw_bytes.getvalue().decode()
    assert "[red]x[/red]\\x1b[2J" in shown


def test_a_terminal_too_narrow_for_a_table_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [("session", "left"), ("name", "left"), ("exchanges", "right"), ("size", "right")]
    rows = [["20261127T120000-abcdef", "checkout", "12", "1.5 kB"], ["20261127T130000-abcdef", "", "1", "0 B"]]
    for width, drawn in (("28", False), ("34", True)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", width)
        print_table(columns, rows, empty="nothing")
        shown = terminal.raw_bytes.getvalue().decode()
        assert ("─" in shown) == drawn
        if not drawn:
            first = "session: 20261127T120000-abcdef\nname: checkout\nexchanges: 12\nsize: 1.5 kB\n"
            assert shown == first + "\nsession: 20261127T130000-abcdef\nname: \nexchanges: 1\nsize: 0 B\n"


@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_a_table_takes_a_line_a_row_at_any_width_and_cuts_texts_but_no_numbers(
    monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", width)
    columns = [("seq", "right"), ("model", "left"), ("in", "right"), ("finish", "left"), ("host", "left")]
    rows = [[str(10**6 + n), "gpt-shop-2026-08-01", "123456", "tool_calls", "\u8def" * 40] for n in range(3)]
    print_table(columns, rows, empty="nothing")
    shown = terminal.raw_bytes.getvalue().decode().splitlines()
    assert len(shown) == 5
    assert all(width_of(line) <= int(width) for line in shown[1:])
    assert all(row[0] in line and "123456" in line for row, line in zip(rows, shown[2:], strict=True))


def test_a_huge_cell_costs_no_more_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    began = time.process_time()
    print_table([("seq", "right"), ("body", "left")], [["1", "x" * 8_000_000]], empty="nothing")
    assert time.process_time() - began < 4
    assert len(terminal.raw_bytes.getvalue().decode().splitlines()[2]) == 80


def test_how_many_there_are_is_said_in_one_way() -> None:
    assert [many(count, "row") for count in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styled("ok", "green") == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "")
    assert styled("ok", "green") == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("ok", "green") == "ok"


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029"])
def test_json_towards_a_pipe_is_one_line_for_every_reader(char: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({f"a{char}": f"{char}漢"})
    written = capfdbinary.readouterr().out.decode()
    assert len(written.splitlines()) == 1
    assert json.loads(written) == {f"a{char}": f"{char}漢"}


def test_a_table_in_a_pipe_is_lines_with_tabs(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_table([("a", "left"), ("b", "right")], [["x\ty", "1"]], empty="nothing")
    assert capfdbinary.readouterr().out == b"a\tb\nx\\ty\t1\n"


def test_an_empty_table_is_a_sentence(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_table([("a", "left")], [], empty="Nothing here.")
    assert capfdbinary.readouterr().out == b"Nothing here.\n"


def test_what_the_output_cannot_encode_is_escaped_instead_of_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    ascii_terminal = Terminal(encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_terminal)
    write_line("漢")
    assert ascii_terminal.raw_bytes.getvalue() == b"\\u6f22\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000_000, "2.0 GB"), (3 * 10**15, "3000.0 TB")],
)
def test_sizes_are_written_for_people(size: int | None, text: str) -> None:
    assert size_text(size) == text


def test_a_time_that_no_calendar_has_is_still_shown() -> None:
    assert time_text(None) == "-"
    assert time_text(10**20) == "@100000000000000000000"
    assert time_text(0).startswith(("1970-01-01", "1969-12-31"))
