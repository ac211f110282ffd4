"""A client that speaks SOCKS: find out where it wants to go, on the bare socket."""

from __future__ import annotations

from typing import Final

from wiretape.recorder.bare_socket import BareSocket
from wiretape.recorder.context import Context
from wiretape.recorder.credentials import Credentials
from wiretape.recorder.destination import Destination, destination
from wiretape.recorder.ourselves import LOOP
from wiretape.wire import socks
from wiretape.wire.socks import SocksError

SECONDS: Final = 30.0
"""How long each message may take."""
_WHO: Final = "this proxy asks who its user is, and the SOCKS client does not say it, or not rightly"


async def ask_socks(bare: BareSocket, context: Context, client: str, *, version: int) -> Destination | None:
    """Answer a SOCKS client up to the reply to its request; None when it left or was refused, which is counted.

    As with CONNECT the server is asked later: most clients first say what they speak, and that decides how.
    """
    try:
        if version == 5 and not await _admit(bare, context.credentials):
            return None
        asked = await bare.take(socks.parse_request, SECONDS)
        if asked is None:
            return None
        if asked.version == 4 and context.credentials is not None:
            raise SocksError(_WHO, reply=socks.not_allowed(4), code="proxy-auth")
        if context.ourselves.named(asked.host, asked.port):
            raise SocksError(LOOP, reply=socks.not_allowed(asked.version), code="loop")
    except SocksError as error:
        context.note_refused(client, error.message, error.code)
        await bare.close_with(error.reply)
        return None
    bare.answer(socks.success(asked.version))
    return destination(asked.host, asked.port, "socks")


async def _admit(bare: BareSocket, credentials: Credentials | None) -> bool:
    """Agree on a method; False when the client left.

    Where nobody is asked who he is, a client that can only say it is let in with whatever it says.
    """
    greeting = await bare.take(socks.parse_greeting, SECONDS)
    if greeting is None:
        return False
    if socks.NO_PASSWORD in greeting.methods and credentials is None:
        bare.answer(socks.method_answer(socks.NO_PASSWORD))
        return True
    if socks.USER_PASSWORD not in greeting.methods:
        raise SocksError(
            "the SOCKS5 client offers no method that is served here (none, or user and password)"
            if credentials is None
            else _WHO,
            reply=socks.method_answer(socks.NO_METHOD),
            code="socks-method" if credentials is None else "proxy-auth",
        )
    bare.answer(socks.method_answer(socks.USER_PASSWORD))
    given = await bare.take(socks.parse_password, SECONDS)
    if given is None:
        return False
    if credentials is not None and not credentials.are(given.user, given.password):
        raise SocksError(_WHO, reply=socks.password_answer(accepted=False), code="proxy-auth")
    bare.answer(socks.password_answer(accepted=True))
    return True
