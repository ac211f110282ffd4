"""TLS that is not intercepted passes as it is, and is recorded as a connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from harness.bodies import body_for
from harness.clients import RawClient
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, only
from wiretape.cli.demo.certificates import OriginCA
from wiretape.log.format import PASSED, FrameType, TlsSeen
from wiretape.recorder.pass_through import LEARNED, PassThrough
from wiretape.session.catalogue import Catalogue
from wiretape.settings import ArrivalSettings
from wiretape.tls.client_hello import parse_client_hello


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("example.com", ["example.com", "a.b.example.com"], ["badexample.com", "example.com.evil.test", ""]),
        ("Example.COM.", ["example.com"], ["example.org"]),
        ("*.cdn.*", ["a.cdn.test", "a.b.cdn.c.d"], ["cdn.test", "acdn.test"]),
        ("10.0.0.*", ["10.0.0.7"], ["10.0.1.7", "110.0.0.7"]),
        ("::1", ["::1"], ["::2"]),
        ("*", ["anything"], [""]),
    ],
)
def test_a_pattern_takes_a_host_and_those_below_it_or_what_its_stars_say(
    pattern: str, names: list[str], others: list[str]
) -> None:
    listed = PassThrough(["unrelated.test", pattern])
    assert all(listed.takes(name) for name in names)
    assert not any(listed.takes(other) for other in others)
    assert listed.takes("elsewhere.test", names[0])
    assert not PassThrough().takes(*names)


def test_refusals_are_remembered_where_that_is_wanted_and_not_without_end() -> None:
    never, learning = PassThrough(), PassThrough(after_refusal=True)
    for number in range(LEARNED + 1):
        never.refused(f"{number}.test")
        learning.refused(f"{number}.test")
    assert not never.takes("5.test")
    assert learning.takes("5.test")
    assert not learning.takes("0.test")
    assert not learning.takes("below.5.test")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA) -> Iterator[RecorderProcess]:
    arrivals = ArrivalSettings(pass_hosts=("127.0.0.1", "passed.test"), pass_refused=True)
    root = tmp_path_factory.mktemp("passing")
    with RecorderProcess(root, upstream_ca=origin_ca.pem, arrivals=arrivals) as process:
        yield process


@pytest.fixture
def recorder(lasting: RecorderProcess) -> Iterator[RecorderProcess]:
    lasting.record()
    yield lasting
    lasting.clear()


def origins(origin_ca: OriginCA) -> ssl.SSLContext:
    """Return a context that trusts the server's authority, not wiretape's: it sees the server's own certificate."""
    return ssl.create_default_context(cafile=str(origin_ca.pem))


def handshakes(recorder: RecorderProcess) -> list[tuple[TlsSeen, bytes]]:
    found = [(frame.record(), bytes(frame.data)) for frame in recorder.frames(FrameType.TLS)]
    return [(record, data) for record, data in found if isinstance(record, TlsSeen)]


def test_the_client_sees_the_servers_own_certificate_and_the_log_has_name_bytes_and_times(
    recorder: RecorderProcess, https_origin: Origin, origin_ca: OriginCA
) -> None:
    before = recorder.stats()["passed"]
    port = https_origin.port
    with RawClient.tunnel(recorder.address, "127.0.0.1", port, tls=origins(origin_ca), name="localhost") as client:
        assert client.get("/bytes/5000", host="localhost").body == body_for("/bytes/5000", 5000)
    exchange = only(recorder)
    assert exchange.opened is not None
    assert exchange.done is not None
    assert (exchange.request.method, exchange.opened.host, exchange.opened.port) == ("CONNECT", "127.0.0.1", port)
    assert exchange.done.response_size > 5000
    assert exchange.done.request_size > 200
    assert exchange.done.elapsed_ns > 0
    ((record, hello),) = handshakes(recorder)
    assert (record.sni, record.verified, record.connection) == ("localhost", PASSED, exchange.opened.connection)
    parsed = parse_client_hello(hello)
    assert parsed is not None
    assert parsed.ja4().startswith("t13d")
    assert recorder.stats()["passed"] == before + 1
    recorder.close()
    with Catalogue(recorder.root).open(recorder.folder("one").name) as session:
        coverage = session.query(None, limit=1).coverage
        assert coverage.passed_through == 1
        assert any("not intercepted (to 127.0.0.1)" in note for note in coverage.notes)


def test_after_a_client_has_refused_our_certificate_the_host_passes(
    recorder: RecorderProcess, https_origin: Origin, origin_ca: OriginCA
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=origins(origin_ca))
    done_count(recorder, 1)
    with RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=origins(origin_ca)) as client:
        assert client.get("/bytes/5", host="localhost").status == 200
    first, second = done_count(recorder, 2)
    assert first.done is not None
    assert second.done is not None
    assert first.done.error_code == "client-refused-certificate"
    assert (second.request.method, second.done.error_code, https_origin.requests[0].target) == (
        "CONNECT",
        "",
        "/bytes/5",
    )


def test_plain_http_to_a_host_on_the_list_is_recorded(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        assert client.get(http_origin.url("/bytes/7"), host=http_origin.authority).status == 200
    assert only(recorder).request.target.endswith("/bytes/7")
