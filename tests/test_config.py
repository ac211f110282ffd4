"""Roots, sizes and addresses as users write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wiretape.config import ROOT_VARIABLE, default_root, parse_address, parse_server, parse_size, resolve_root
from wiretape.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500", 500),
        ("20MB", 20_000_000),
        ("20mb", 20_000_000),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("1.5GiB", 3 << 29),
        ("10G", 10 << 30),
        ("2 TB", 2 * 10**12),
        ("7B", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1,5GB", "1 EB", "1e9", "0", "0.1", "nan"])
def test_what_is_no_size_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses_are_split_into_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", ":8080", "::1:80", "a:b", "a:-1", "a:65536", "a:", "[::1]", "a:١"])
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("https://api.example.com", ("https", "api.example.com", 443)),
        ("HTTP://API.example.com:3000/", ("http", "api.example.com", 3000)),
        ("http://[::1]:80", ("http", "::1", 80)),
    ],
)
def test_servers_are_split_into_scheme_host_and_port(text: str, server: tuple[str, str, int]) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.com",
        "ftp://a",
        "https://",
        "https://a/v1",
        "https://u:p@a",
        "https://a?x",
        "http://a:0",
        "http://a:70000",
    ],
)
def test_what_is_no_server_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_server(text)
    assert caught.value.hint


def test_the_variable_names_the_root_and_an_option_overrides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "one"))
    assert resolve_root(None) == default_root() == tmp_path / "one"
    assert resolve_root(tmp_path / "two") == tmp_path / "two"


def test_without_the_variable_the_root_is_among_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    root = default_root()
    assert root.name == "wiretape"
    assert root.is_relative_to(Path(os.environ["HOME"]))


def test_a_relative_root_is_made_absolute_and_a_tilde_is_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_root("here") == tmp_path / "here"
    assert resolve_root("~/there") == Path(os.environ["HOME"]) / "there"


def test_importing_the_module_needs_the_standard_library_alone() -> None:
    code = "import sys, wiretape.config; assert 'platformdirs' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
