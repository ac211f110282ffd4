"""A connection that its server authenticates (NTLM, Negotiate) is one client's alone, from its first challenge on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.ntlm_origin import NtlmClient, NtlmOrigin
from harness.recorder import RecorderProcess
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until


@pytest.fixture(params=["NTLM", "Negotiate", "negotiate over TLS"])
def origin(request: pytest.FixtureRequest, origin_ca: OriginCA) -> Iterator[NtlmOrigin]:
    scheme, _, tls = request.param.partition(" over ")
    with NtlmOrigin(scheme, origin_ca.issue().server_context() if tls else None) as server:
        yield server


def test_p14_a_client_without_credentials_never_gets_the_connection_of_one_that_has_some(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = (
        NtlmClient(recorder.address, recorder.root, origin),
        NtlmClient(recorder.address, recorder.root, origin),
    )
    alice.log_in("alice")
    assert bob.get().status == 401
    assert alice.get().body == b"the secret of alice"  # hers goes on without credentials, as without a proxy
    assert bob.get().status == 401
    alice.close()
    bob.close()


def test_handshakes_of_two_clients_that_take_turns_both_succeed(recorder: RecorderProcess, origin: NtlmOrigin) -> None:
    alice, bob, carol = (NtlmClient(recorder.address, recorder.root, origin) for _ in range(3))
    hers = alice.hello()
    his = bob.hello("Negotiate")
    assert carol.get().status == 401
    assert his != hers
    assert bob.get(token=f"bob-PROOF-{his}", scheme="negotiate").body == b"the secret of bob"
    assert carol.get("/open").body == b"open"
    assert alice.get(token=f"alice-PROOF-{hers}").body == b"the secret of alice"
    assert bob.get().body == b"the secret of bob"
    for client in (alice, bob, carol):
        client.close()


def test_p14_a_connection_is_kept_from_others_from_the_first_challenge_on(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = (
        NtlmClient(recorder.address, recorder.root, origin),
        NtlmClient(recorder.address, recorder.root, origin),
    )
    assert alice.get().status == 401
    assert bob.get("/open").status == 200
    assert origin.open == 2
    alice.close()
    bob.close()


def test_p14_a_connection_that_was_pooled_is_taken_from_the_pool_by_credentials(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = (
        NtlmClient(recorder.address, recorder.root, origin),
        NtlmClient(recorder.address, recorder.root, origin),
    )
    assert alice.get("/open").status == 200
    assert bob.get("/open").status == 200
    assert origin.open == 1  # still everybody's
    alice.log_in("alice")
    assert bob.get().status == 401
    alice.close()
    bob.close()


def test_p14_when_its_client_goes_an_authenticated_connection_is_closed(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = (
        NtlmClient(recorder.address, recorder.root, origin),
        NtlmClient(recorder.address, recorder.root, origin),
    )
    alice.log_in("alice")
    assert origin.authenticated == 1
    alice.close()
    wait_until(lambda: not origin.authenticated, what="the end of the connection that was alice's")
    assert bob.get().status == 401
    bob.close()
