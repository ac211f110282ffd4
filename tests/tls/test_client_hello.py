"""ClientHellos: of real TLS libraries, of published fingerprints, cut anywhere, and hostile."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiretape.errors import ProtocolError
from wiretape.tls.client_hello import ClientHello, parse_client_hello


def real_hello(sni: str | None = "shop.example", alpn: tuple[str, ...] = (), *, newest: bool = True) -> bytes:
    """Give what OpenSSL sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=sni)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def parse(data: bytes) -> ClientHello:
    hello = parse_client_hello(data)
    assert hello is not None
    return hello


def pack(numbers: list[int], size: int = 2) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def block(prefix: int, data: bytes) -> bytes:
    return len(data).to_bytes(prefix, "big") + data


def server_name(name: bytes, kind: int = 0) -> bytes:
    return block(2, bytes([kind]) + block(2, name))


def message(
    ciphers: list[int],
    extensions: list[tuple[int, bytes]] | None,
    version: int = 0x0303,
) -> bytes:
    """Give a ClientHello as a handshake message."""
    body = pack([version]) + bytes(32) + block(1, bytes(32)) + block(2, pack(ciphers)) + block(1, b"\x00")
    if extensions is not None:
        body += block(2, b"".join(pack([kind]) + block(2, content) for kind, content in extensions))
    return b"\x01" + block(3, body)


def records(handshake: bytes, size: int = 16384) -> bytes:
    """Give a handshake message in records of at most ``size`` bytes."""
    return b"".join(b"\x16\x03\x01" + block(2, handshake[at : at + size]) for at in range(0, len(handshake), size))


def hello(ciphers: list[int], extensions: list[tuple[int, bytes]] | None, version: int = 0x0303) -> ClientHello:
    return parse(records(message(ciphers, extensions, version)))


@pytest.mark.parametrize("sni", [None, "a", "shop.example", "a" * 63 + ".example"])
@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1"), ("http/1.0",)])
@pytest.mark.parametrize("newest", [True, False])
def test_what_openssl_offers_is_read(sni: str | None, alpn: tuple[str, ...], newest: bool) -> None:
    data = real_hello(sni, alpn, newest=newest)
    offered = parse(data + b"\x14\x03\x03")
    assert offered.raw == data
    assert (offered.sni, offered.alpn, offered.legacy_version) == (sni, alpn, 0x0303)
    assert (0x0304 in offered.supported_versions) is newest
    assert 0xC02F in offered.ciphers
    assert {10, 13} <= set(offered.extensions)
    assert 0x001D in offered.groups
    assert 0x0403 in offered.signature_algorithms
    assert offered.ja3()[0].startswith("771,")
    version, name = "13" if newest else "12", "i" if sni is None else "d"
    protocol = {(): "00", ("h2", "http/1.1"): "h2", ("http/1.0",): "h0"}[alpn]
    counts = f"{len(offered.ciphers):02}{len(offered.extensions):02}"
    assert offered.ja4().split("_")[0] == f"t{version}{name}{counts}{protocol}"


def test_the_fingerprints_of_one_library_do_not_depend_on_the_server() -> None:
    first, second = parse(real_hello("a.example", ("h2",))), parse(real_hello("b.example", ("h2",)))
    assert first.raw != second.raw
    assert (first.ja3(), first.ja4()) == (second.ja3(), second.ja4())
    other = parse(real_hello("a.example", ("h2",), newest=False))
    assert other.ja3() != first.ja3()
    assert other.ja4() != first.ja4()


def test_what_curl_offers_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port = server.getsockname()[1]
        arguments = ["curl", "-sk", "--noproxy", "*", "--resolve", f"shop.example:{port}:127.0.0.1"]
        with subprocess.Popen([*arguments, f"https://shop.example:{port}/"], stdout=subprocess.DEVNULL) as curl:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                data = b""
                while (offered := parse_client_hello(data)) is None:
                    piece = connection.recv(100)
                    assert piece
                    data += piece
            curl.wait(30)
    assert offered.raw == data
    assert offered.sni == "shop.example"
    assert offered.alpn in {("h2", "http/1.1"), ("http/1.1",)}
    assert offered.ja4()[:4] == "t13d"


@pytest.mark.parametrize("size", [1, 3, 7, 100, 16384])
def test_a_message_cut_into_records_anywhere_is_read_the_same(size: int) -> None:
    data = real_hello()
    cut = records(data[5:], size)
    whole, split = parse(data), parse(cut)
    assert split.raw == cut
    assert (split.sni, split.ja3(), split.ja4()) == (whole.sni, whole.ja3(), whole.ja4())


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_message_that_has_not_arrived_whole_is_waited_for(size: int) -> None:
    cut = records(message([1, 2], [(0, server_name(b"a.example")), (16, block(2, block(1, b"h2")))]), size)
    assert all(parse_client_hello(cut[:end]) is None for end in range(len(cut)))
    assert parse(cut).alpn == ("h2",)


# From the documentation of JA4: Chrome, its own example; values with GREASE added as Chrome does.
CHROME_CIPHERS = [
    *(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D),
    *(0x002F, 0x0035),
]
CHROME_EXTENSIONS = [0x1B, 0, 0x33, 0x10, 0x4469, 0x17, 0x2D, 0x0D, 5, 0x23, 0x12, 0x2B, 0xFF01, 0x0B, 0x0A, 0x15]
CHROME_ALGORITHMS = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]


def chrome(alpn: bytes = b"h2", algorithms: list[int] | None = None) -> ClientHello:
    contents = {
        0: server_name(b"shop.example"),
        0x0A: block(2, pack([0x3A3A, 29, 23, 24])),
        0x0B: block(1, b"\x00"),
        0x0D: block(2, pack([0x0A0A, *(CHROME_ALGORITHMS if algorithms is None else algorithms)])),
        0x10: block(2, block(1, alpn) + block(1, b"http/1.1")),
        0x2B: block(1, pack([0xDADA, 0x0304, 0x0303])),
    }
    extensions = [(kind, contents.get(kind, b"")) for kind in CHROME_EXTENSIONS]
    return hello([0x4A4A, *CHROME_CIPHERS], [(0x1A1A, b""), *extensions, (0xFAFA, b"\x00")])


def test_ja4_gives_the_published_fingerprint_of_chrome() -> None:
    assert chrome().ja4() == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_ja4_without_signature_algorithms_gives_the_published_hash() -> None:
    assert chrome(algorithms=[]).ja4() == "t13d1516h2_8daaf6152771_6d807ffa2a79"


@pytest.mark.parametrize(
    ("alpn", "expected"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"", "00"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_ja4_shows_the_first_protocol_as_published(alpn: bytes, expected: str) -> None:
    assert chrome(alpn).ja4() == f"t13d1516{expected}_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("version", "offered", "expected"),
    [
        (0x0303, [0x0304, 0x0303], "13"),
        (0x0303, [0x0303, 0x0304], "13"),
        (0x0303, [0x0303, 0x0302], "12"),
        (0x0303, [0x0303, 0x0A0A], "12"),
        (0x0303, [], "12"),
        (0x0302, [], "11"),
        (0x0301, [], "10"),
        (0x0300, [], "s3"),
        (0x0002, [], "s2"),
        (0x7F1C, [], "00"),
    ],
)
def test_ja4_shows_the_highest_version_offered(version: int, offered: list[int], expected: str) -> None:
    extensions = [(43, block(1, pack(offered)))] if offered else []
    assert hello([1], extensions, version).ja4().startswith(f"t{expected}i01")


def test_ja4_of_an_empty_offer_has_zeros_for_hashes() -> None:
    assert hello([], None).ja4() == "t12i000000_000000000000_000000000000"
    assert hello([], [(0, server_name(b"a"))]).ja4() == "t12d000100_000000000000_000000000000"


def test_ja4_counts_up_to_99() -> None:
    many = list(range(1, 151))
    assert hello(many, [(1000 + kind, b"") for kind in many]).ja4().startswith("t12i999900_")


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0", "ada70206e40642a3e4461f35503241d5"),
        ("769,4-5-10-9-100-98-3-6-19-18-99,,,", "de350869b8c85de67a350c8d186f11e6"),
        (
            (
                "769,255-49162-49172-136-135-57-56-49167-49157-132-53-49159-49161-49169-49171-69-68-51-50-49164-49166-"
                "49154-49156-150-65-4-5-47-49160-49170-22-19-49165-49155-65279-10,0-10-11-35,23-24-25,0"
            ),
            "2aef69b4ba1938c3a400de4188743185",
        ),
    ],
)
def test_ja3_gives_the_published_fingerprints(text: str, digest: str) -> None:
    version, *lists = text.split(",")
    ciphers, extensions, groups, formats = ([int(item) for item in part.split("-") if item] for part in lists)
    contents = {0: server_name(b"a"), 10: block(2, pack(groups)), 11: block(1, bytes(formats))}
    offered = [(kind, contents.get(kind, b"")) for kind in extensions]
    assert hello(ciphers, offered, int(version)).ja3() == (text, digest)
    assert hello(ciphers, offered or None, int(version)).ja3() == (text, digest)


def test_ja3_leaves_grease_out() -> None:
    text, digest = chrome().ja3()
    assert text == (
        "771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,"
        "27-0-51-16-17513-23-45-13-5-35-18-43-65281-11-10-21,29-23-24,0"
    )
    assert digest == hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "sni"),
    [
        (b"Shop.EXAMPLE", "shop.example"),
        (b"a_b.c-d.e", "a_b.c-d.e"),
        (b"xn--caf-dma.example", "xn--caf-dma.example"),
        (b"127.0.0.1", "127.0.0.1"),
        (b"", None),
        (b".", None),
        (b"..", None),
        (b"../../etc/passwd", None),
        (b"a/b", None),
        (b"a\\b", None),
        (b"a..b", None),
        (b".a", None),
        (b"a.", None),
        (b"-a", None),
        (b"a-.b", None),
        (b"*.a", None),
        (b"a b", None),
        (b"a\x00b", None),
        (b"a\n", None),
        (b"a\r\nHost: b", None),
        (b"caf\xc3\xa9.example", None),
        (b"a:443", None),
        (b"[::1]", None),
        (b"a" * 64, None),
        (b".".join([b"a" * 60] * 5), None),
        (b"\xd9\xa0.example", None),
    ],
)
def test_p14_a_server_name_is_a_host_name_or_nothing(name: bytes, sni: str | None) -> None:
    assert hello([1], [(0, server_name(name))]).sni == sni


def test_a_server_name_of_another_kind_is_nothing() -> None:
    assert hello([1], [(0, server_name(b"a", kind=1))]).sni is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"GET / HTTP/1.1", b"\x15\x03\x01\x00\x02", b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01"),
        *(b"\x16\x03\x01\x00\x04\x02", b"\x16\x03\x01\x00\x04\x01\x01\x00\x00", b"\x16\x03\x01\x00\x01\x01\x17"),
        records(b"\x01\x00\x00\x00"),
        records(message([1], [])[:-1] + b"\x01"),
        records(b"\x01" + block(3, message([1], [])[4:] + b"\x00")),
        records(b"\x01" + block(3, message([1], None)[4:] + b"\x00")),
        records(b"\x01" + block(3, pack([0x0303]) + bytes(32) + b"\x00" + block(2, b"abc") + block(1, b"\x00"))),
        records(message([1], [(0, b"")])),
        records(message([1], [(0, b"\x00\x00")])),
        records(message([1], [(0, server_name(b"a") + b"\x00")])),
        records(message([1], [(0, block(2, b"\x00\x00\x09a"))])),
        records(message([1], [(16, block(2, b"\x05h2"))])),
        records(message([1], [(16, block(2, b"\x02h2") + b"x")])),
        records(message([1], [(43, b"\x03\x03\x04\x03")])),
        records(message([1], [(10, b"\x00\x09\x00\x1d")])),
        records(message([1], [(35, b""), (35, b"")])),
    ],
)
def test_what_is_no_good_hello_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="ClientHello") as caught:
        parse_client_hello(data)
    assert caught.value.hint


def test_a_hello_beyond_the_limit_is_refused_before_it_has_arrived() -> None:
    with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
        parse_client_hello(b"\x16\x03\x01\x40\x00\x01\x01\x00\x01")
    fitting = records(message([1], [(99, bytes(60_000))]))
    assert parse(fitting).extensions == (99,)
    with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
        parse_client_hello(records(message([1], [(99, bytes(65_300))]), 500))


def test_a_hello_in_too_many_records_is_refused() -> None:
    handshake = message([1], [(99, bytes(1500))])
    assert parse(records(handshake, 2)).extensions == (99,)
    with pytest.raises(ProtocolError, match="more than 1024 records"):
        parse_client_hello(records(handshake, 1))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_change_to_a_hello_leads_to_anything_but_a_hello_a_wait_or_a_refusal(data: st.DataObject) -> None:
    raw = bytearray(real_hello("shop.example", ("h2", "http/1.1")))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=5)):
        raw[at] = data.draw(st.integers(0, 255))
    try:
        offered = parse_client_hello(bytes(raw))
    except ProtocolError:
        return
    if offered is not None:
        assert len(offered.ja3()[1]) == 32
        assert len(offered.ja4()) == 36
        assert offered.sni is None or "/" not in offered.sni


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_no_bytes_at_all_lead_to_anything_but_a_hello_a_wait_or_a_refusal(data: bytes) -> None:
    for raw in (data, b"\x16\x03\x01" + data, records(b"\x01" + block(3, data)) if data else b""):
        try:
            parse_client_hello(raw)
        except ProtocolError as error:
            assert error.message.isascii()  # noqa: PT017
