"""A client that speaks SOCKS: find out where it wants to go, on the bare socket."""

from __future__ import annotations

from typing import Final

from wiretape.recorder.bare_socket import BareSocket
from wiretape.recorder.context import Context
from wiretape.recorder.destination import Destination, destination
from wiretape.recorder.ourselves import LOOP
from wiretape.wire import socks
from wiretape.wire.socks import SocksError

SECONDS: Final = 30.0
"""How long each message may take."""


async def ask_socks(bare: BareSocket, context: Context, client: str, *, version: int) -> Destination | None:
    """Answer a SOCKS client up to the reply to its request; None when it left or was refused, which is counted.

    As with CONNECT the server is asked later: most clients first say what they speak, and that decides how.
    """
    try:
        if version == 5 and not await _admit(bare):
            return None
        asked = await bare.take(socks.parse_request, SECONDS)
        if asked is None:
            return None
        if context.ourselves.named(asked.host, asked.port):
            raise SocksError(LOOP, reply=socks.not_allowed(asked.version), code="loop")
    except SocksError as error:
        bare.answer(error.reply)
        context.note_refused(client, error.message, error.code)
        return None
    bare.answer(socks.success(asked.version))
    return destination(asked.host, asked.port, "socks")


async def _admit(bare: BareSocket) -> bool:
    """Agree on a method; False when the client left.

    Nobody is asked who he is. A client that can only say it is let in with whatever it says.
    """
    greeting = await bare.take(socks.parse_greeting, SECONDS)
    if greeting is None:
        return False
    if socks.NO_PASSWORD in greeting.methods:
        bare.answer(socks.method_answer(socks.NO_PASSWORD))
        return True
    if socks.USER_PASSWORD not in greeting.methods:
        raise SocksError(
            "the SOCKS5 client offers no method that is served here (none, or user and password)",
            reply=socks.method_answer(socks.NO_METHOD),
            code="socks-method",
        )
    bare.answer(socks.method_answer(socks.USER_PASSWORD))
    if await bare.take(socks.parse_password, SECONDS) is None:
        return False
    bare.answer(socks.password_answer(accepted=True))
    return True
