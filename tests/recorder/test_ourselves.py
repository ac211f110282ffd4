"""Which requests lead back to wiretape, by whatever name."""

from __future__ import annotations

import socket

import pytest

from wiretape.recorder.ourselves import Ourselves

LOOPBACK = Ourselves([("127.0.0.1", 8080), ("127.0.0.1", 8081)])
ANY = Ourselves([("0.0.0.0", 8080)])
SIX = Ourselves([("::1", 8080)])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "a.localhost", "0.0.0.0", "[::ffff:127.0.0.1]"),
        *("::ffff:127.0.0.1", "::ffff:7f00:1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
    ],
)
def test_every_spelling_of_loopback_leads_here(host: str) -> None:
    assert LOOPBACK.named(host, 8080)
    assert LOOPBACK.named(host, 8081)
    assert not LOOPBACK.named(host, 8082)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "192.0.2.1", "example.com", "localhost.example.com", ""])
def test_what_listens_elsewhere_on_the_same_port_is_no_loop(host: str) -> None:
    assert not LOOPBACK.named(host, 8080)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "::ffff:127.0.0.9"])
def test_a_listener_on_all_addresses_is_reached_by_each_of_them(host: str) -> None:
    assert ANY.named(host, 8080)
    assert not ANY.named("192.0.2.1", 8080)


def test_the_other_family_has_its_own_spellings() -> None:
    assert SIX.named("::1", 8080)
    assert SIX.named("0:0::1", 8080)
    assert SIX.named("::", 8080)
    assert not SIX.named("127.0.0.1", 8080)


def test_nothing_leads_to_nobody() -> None:
    assert not Ourselves().named("localhost", 80)


def test_a_connection_that_came_out_here_is_known_whatever_name_led_to_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as theirs:
        ourselves = Ourselves([ours.getsockname()])
        with socket.create_connection(ours.getsockname()) as connection:
            assert ourselves.reached(connection)
        with socket.create_connection(theirs.getsockname()) as connection:
            assert not ourselves.reached(connection)
        with socket.socket() as unconnected:
            assert not ourselves.reached(unconnected)
