"""A connection that its server authenticates (NTLM, Negotiate) is one client's alone, from its first challenge on."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import pytest

from tests.support.clients import Answer, RawClient
from tests.support.ntlm_origin import NtlmOrigin
from tests.support.recorder import RecorderProcess
from tests.support.testca import OriginCA
from tests.support.wait import wait_until


@pytest.fixture(params=["NTLM", "Negotiate", "negotiate over TLS"])
def origin(request: pytest.FixtureRequest, origin_ca: OriginCA) -> Iterator[NtlmOrigin]:
    scheme, _, tls = request.param.partition(" over ")
    with NtlmOrigin(scheme, origin_ca.issue().server_context() if tls else None) as server:
        yield server


class Client:
    """A client of a server that authenticates connections, through the recorder."""

    def __init__(self, recorder: RecorderProcess, origin: NtlmOrigin) -> None:
        self._authority = origin.authority
        if origin.authority.startswith("127"):
            self.raw = RawClient.plain(recorder.address)
            self._prefix = f"http://{origin.authority}"
        else:
            context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
            self.raw = RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context)
            self._prefix = ""

    def get(self, path: str = "/secret", token: str = "", scheme: str = "NTLM") -> Answer:
        fields = [("Authorization", f"{scheme} {token}")] if token else []
        return self.raw.get(self._prefix + path, host=self._authority, headers=fields)

    def hello(self, scheme: str = "NTLM") -> str:
        """Begin the handshake; return the number of the connection that the challenge is for."""
        answer = self.get(token="HELLO", scheme=scheme)
        assert answer.status == 401
        found = re.search(r"CHALLENGE-(\d+)", answer.header("WWW-Authenticate") or "")
        assert found is not None
        return found[1]

    def log_in(self, user: str) -> None:
        assert self.get(token=f"{user}-PROOF-{self.hello()}").body == f"the secret of {user}".encode()


def test_p14_a_client_without_credentials_never_gets_the_connection_of_one_that_has_some(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = Client(recorder, origin), Client(recorder, origin)
    alice.log_in("alice")
    assert bob.get().status == 401
    assert alice.get().body == b"the secret of alice"  # hers goes on without credentials, as without a proxy
    assert bob.get().status == 401
    alice.raw.close()
    bob.raw.close()


def test_handshakes_of_two_clients_that_take_turns_both_succeed(recorder: RecorderProcess, origin: NtlmOrigin) -> None:
    alice, bob, carol = (Client(recorder, origin) for _ in range(3))
    hers = alice.hello()
    his = bob.hello("Negotiate")
    assert carol.get().status == 401
    assert his != hers
    assert bob.get(token=f"bob-PROOF-{his}", scheme="negotiate").body == b"the secret of bob"
    assert carol.get("/open").body == b"open"
    assert alice.get(token=f"alice-PROOF-{hers}").body == b"the secret of alice"
    assert bob.get().body == b"the secret of bob"
    for client in (alice, bob, carol):
        client.raw.close()


def test_p14_a_connection_is_kept_from_others_from_the_first_challenge_on(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = Client(recorder, origin), Client(recorder, origin)
    assert alice.get().status == 401
    assert bob.get("/open").status == 200
    assert origin.open == 2
    alice.raw.close()
    bob.raw.close()


def test_p14_a_connection_that_was_pooled_is_taken_from_the_pool_by_credentials(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = Client(recorder, origin), Client(recorder, origin)
    assert alice.get("/open").status == 200
    assert bob.get("/open").status == 200
    assert origin.open == 1  # still everybody's
    alice.log_in("alice")
    assert bob.get().status == 401
    alice.raw.close()
    bob.raw.close()


def test_p14_when_its_client_goes_an_authenticated_connection_is_closed(
    recorder: RecorderProcess, origin: NtlmOrigin
) -> None:
    alice, bob = Client(recorder, origin), Client(recorder, origin)
    alice.log_in("alice")
    assert origin.authenticated == 1
    alice.raw.close()
    wait_until(lambda: not origin.authenticated, what="the end of the connection that was alice's")
    assert bob.get().status == 401
    bob.raw.close()
