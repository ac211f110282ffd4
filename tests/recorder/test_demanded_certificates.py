"""A server that demands a client certificate, which the recorder has not: the answer says so, in TLS 1.2 and 1.3."""

from __future__ import annotations

import ssl

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from harness.recorder import RecorderProcess, only
from wiretape.cli.demo.certificates import OriginCA


@pytest.mark.parametrize("size", [None, 10, 3_000_000])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_demands_a_certificate_is_named_as_such(
    recorder: RecorderProcess, origin_ca: OriginCA, version: ssl.TLSVersion, size: int | None
) -> None:
    demanding = origin_ca.issue().server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(origin_ca.pem)
    demanding.minimum_version = demanding.maximum_version = version
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    with (
        Origin(tls=demanding) as origin,
        RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context) as client,
    ):
        body = None if size is None else b"x" * size
        answer = client.request("GET" if body is None else "POST", "/bytes/3", host=origin.authority, body=body)
        assert answer.status == 502
        # TLS 1.2 has no alert of its own for it; the text names both causes.
        expected = {"upstream-wants-certificate", "upstream-no-common-cipher"}
        if version is ssl.TLSVersion.TLSv1_3:
            expected = {"upstream-wants-certificate"}
            assert b"can only be tunnelled" in answer.body
        assert answer.header("Wiretape-Error") in expected
    exchange = only(recorder)
    assert exchange.done is not None
    assert exchange.state == "failed"
    assert exchange.done.error_code in expected
