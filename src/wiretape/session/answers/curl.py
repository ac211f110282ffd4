"""One request as a curl command, its secrets as variables: what is told with it is where each comes from."""

from __future__ import annotations

from wiretape.errors import UsageError
from wiretape.formats.curl import assignments, curl
from wiretape.formats.replayable import Request, Variable, Variables
from wiretape.model import Filter
from wiretape.session.answers.export import Exported
from wiretape.session.session import Session

_EARLIER = 2_000
"""Exchanges before the one in question in whose answers its secrets are looked for."""


def request_of(session: Session, seq: int) -> tuple[Request, list[Variable]]:
    """Return an exchange's request as it can be sent again, and the secrets in it with their origins.

    Raises:
        NotFoundError: there is no such exchange. UsageError: its request is lost to damage.
    """
    exchange = session.exchange(seq)
    probe = Variables()
    if probe.request(exchange) is None:
        raise UsageError(f"The request of exchange {seq} is lost to damage", hint="choose another exchange")
    variables = Variables()
    if probe.by_value:
        for earlier in session.iterate(Filter(from_seq=max(1, seq - _EARLIER))):
            if earlier.seq >= seq:
                break
            variables.learn(earlier)
    request = variables.request(exchange)
    assert request is not None
    return request, list(variables.by_value.values())


def curl_command(session: Session, seq: int, shell: str = "sh") -> tuple[Exported, str]:
    """Return the command, and the lines that set its variables: these hold the secrets.

    Raises:
        NotFoundError, UsageError: as ``request_of``.
    """
    request, variables = request_of(session, seq)
    env = {one.name: one.origin for one in variables}
    command = Exported(format="curl", seq=seq, text=curl(request, shell), env=env)
    return command, assignments(variables, shell, values=True)
