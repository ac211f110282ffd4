"""Binding ports."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from wiretape.daemon.listen import bind, bind_unix, exposed
from wiretape.errors import BusyError, UsageError
from wiretape.settings import Address


def test_port_zero_picks_a_free_one_that_accepts() -> None:
    with bind(Address(host="127.0.0.1", port=0)) as listener, socket.create_connection(listener.getsockname()):
        assert listener.getsockname()[1] > 0


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with bind(Address(host="127.0.0.1", port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"port {port} on 127.0.0.1") as busy:
            bind(Address(host="127.0.0.1", port=port))
    assert busy.value.code == "port-in-use"
    assert "0" in busy.value.hint


def test_with_patience_it_waits_for_a_port_that_becomes_free() -> None:
    taken = bind(Address(host="127.0.0.1", port=0))
    port = taken.getsockname()[1]
    found: list[socket.socket] = []
    waiting = threading.Thread(target=lambda: found.append(bind(Address(host="127.0.0.1", port=port), patience=20)))
    waiting.start()
    taken.close()
    waiting.join()
    assert found[0].getsockname()[1] == port
    found[0].close()


@pytest.mark.parametrize("host", ["192.0.2.1", "999.1.1.1.", "a\x00b", "a..b"])
def test_a_host_that_is_not_ours_is_a_usage_error(host: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        bind(Address(host=host, port=0))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_a_usage_error(port: int) -> None:
    with pytest.raises(UsageError, match=str(port)):
        bind(Address(host="127.0.0.1", port=port))


def test_an_address_is_written_as_urls_have_it() -> None:
    assert str(Address(host="127.0.0.1", port=80)) == "127.0.0.1:80"
    assert str(Address(host="::1", port=80)) == "[::1]:80"


def test_p14_an_address_that_other_machines_can_reach_is_said_loudly() -> None:
    here, there = Address(host="127.0.0.1", port=8080), Address(host="0.0.0.0", port=8081)
    assert exposed(here, here) == []
    assert exposed(Address(host="::1", port=1), None) == []
    assert exposed(None, None) == []
    proxy, api = exposed(there, there)
    assert "OTHER MACHINES" in proxy
    assert "asks nobody" in proxy
    assert "token" in api
    assert len(exposed(Address(host="fe80::1%eth0", port=1), here)) == 1


def test_a_unix_socket_is_this_users_alone_and_a_left_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    bind_unix(path).close()  # as a kill leaves it
    with bind_unix(path) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BusyError, match="somebody listens"):
            bind_unix(path)
        assert listener.getsockname() == str(path)


def test_what_is_no_place_for_a_unix_socket_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "nowhere" / "x", tmp_path / ("x" * 200)):
        with pytest.raises(UsageError, match="cannot listen at"):
            bind_unix(path)
    assert (tmp_path / "file").read_text() == "mine"
