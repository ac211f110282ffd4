"""The ServerHello, found at every split of what a server sends, and JA3S by its published definition."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretape.cli.demo.certificates import OriginCA
from wiretape.errors import ProtocolError
from wiretape.tls.contexts import UpstreamContexts, server_hello_of
from wiretape.tls.server_hello import MAX_SERVER_HELLO, ServerHelloFinder, parse_server_hello

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 section 4.1.3


def block(prefix: int, data: bytes) -> bytes:
    return len(data).to_bytes(prefix, "big") + data


def message(
    version: int, cipher: int, extensions: list[int], *, random: bytes = bytes(32), content: bytes = b"xx"
) -> bytes:
    body = version.to_bytes(2, "big") + random + block(1, b"s" * 32) + cipher.to_bytes(2, "big") + b"\x00"
    if extensions:
        body += block(2, b"".join(kind.to_bytes(2, "big") + block(2, content) for kind in extensions))
    return b"\x02" + block(3, body)


def record(data: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 3)) + block(2, data)


def found(*pieces: bytes) -> bytes:
    finder = ServerHelloFinder()
    for piece in pieces:
        finder.feed(piece)
    return finder.message


@pytest.mark.parametrize(
    ("version", "cipher", "extensions", "digest"),
    [
        # As Wireshark and others publish them: TLS 1.3 with other ciphers and another order.
        (771, 4866, [43, 51], "15af977ce25de452b96affa2addb1036"),
        (771, 4865, [51, 43], "eb1d94daa7e0344597e756a1fb6e7054"),
        (771, 4865, [43, 51], "f4febc55ea12b31ae17cfb7e614afda8"),
    ],
)
def test_ja3s_gives_the_published_fingerprints(version: int, cipher: int, extensions: list[int], digest: str) -> None:
    text = f"{version},{cipher},{'-'.join(map(str, extensions))}"
    assert parse_server_hello(message(version, cipher, extensions)).ja3s() == (text, digest)


def test_a_hello_without_extensions_leaves_their_place_empty() -> None:
    assert parse_server_hello(message(769, 47, [])).ja3s()[0] == "769,47,"


def test_it_is_found_at_every_split_and_over_several_records() -> None:
    hello = message(771, 4866, [43, 51])
    data = (
        b"".join(record(hello[at : at + 7]) for at in range(0, len(hello), 7)) + record(b"\x14", 20) + record(b"z", 23)
    )
    for at in range(len(data)):
        assert found(data[:at], data[at:]) == hello
    assert found(*(data[at : at + 1] for at in range(len(data)))) == hello


def test_what_answers_a_second_client_hello_counts() -> None:
    retry, hello = message(771, 4866, [43, 51], random=RETRY), message(771, 4865, [43, 51])
    assert found(record(retry) + record(b"\x01", 20), record(hello)) == hello


@pytest.mark.parametrize(
    "data",
    [
        record(b"\x02\x28", 21),  # an alert
        record(b"\x0b\x00\x00\x01x"),  # a certificate
        record(message(771, 4865, [43], content=bytes(MAX_SERVER_HELLO))),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_none_or_too_long_ends_the_search(data: bytes) -> None:
    finder = ServerHelloFinder()
    finder.feed(data)
    assert finder.done
    assert not finder.message


def test_a_malformed_hello_is_refused_wherever_it_is_cut_or_grows() -> None:
    hello = message(771, 4866, [43, 51])
    for size in range(len(hello)):
        with pytest.raises(ProtocolError):
            parse_server_hello(hello[:size])
        if size != len(message(771, 4866, [])):  # there it is one without extensions
            with pytest.raises(ProtocolError):
                parse_server_hello(b"\x02" + block(3, hello[4:size]))
    with pytest.raises(ProtocolError):
        parse_server_hello(hello + b"x")


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_hostile_bytes_are_bounded(pieces: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        parse_server_hello(found(*pieces))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_hello_of_a_real_server_is_kept(origin_ca: OriginCA, version: ssl.TLSVersion) -> None:
    serving = origin_ca.issue().server_context()
    serving.minimum_version = serving.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = (
        UpstreamContexts(extra_ca=origin_ca.pem).context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    )
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            to_server.write(outgoing.read())
            incoming.write(to_client.read())
    assert client.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    hello = parse_server_hello(server_hello_of(client))
    cipher = client.cipher()
    assert cipher is not None
    chosen = next(one for one in client.context.get_ciphers() if one["name"] == cipher[0])
    assert hello.cipher == chosen["id"] & 0xFFFF
    assert hello.legacy_version == 0x0303
    assert (43 in hello.extensions) == (version is ssl.TLSVersion.TLSv1_3)
