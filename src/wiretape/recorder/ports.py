"""The two ports of an exchange, and what it hears through them.

An exchange stands between a *downstream*, the client's side, and an *upstream*, the server's side. What speaks a
protocol implements a port; the exchange implements the two listeners. Neither knows of the other's sockets.

    client ──► server side of a protocol ──FromClient──► exchange ──Upstream────► client side of a protocol ──► server
    client ◄── (h1_server)  ◄──Downstream── exchange ◄──FromServer── (h1_client)                    ◄── server

Ports are per exchange. A protocol that carries one exchange at a time may let its connection be the port; one that
carries many makes a port for each. Pausing is per exchange, too: it stops reading where one connection is one
exchange, and holds window updates back where it is not.

Bodies travel as lists of pieces and are never joined on the way. ``end`` says that nothing follows; it comes with the
last pieces, so that a message that is whole stays one call, one frame and one write. ``trailers`` come only with
``end``: field lines, each with its CRLF. After ``switch`` the pieces are the raw bytes of another protocol, and ``end``
is the half-close of that direction; messages of such a protocol are made and read by whoever listens then, so that
they are the same over every version of HTTP.

A port is called only by the exchange it was made for, and not after ``give_back`` or ``reset``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import Act, ConnectTimes, Server, Stream
from wiretape.recorder.route import Route
from wiretape.settings import CONNECT_SECONDS, WAIT_SECONDS
from wiretape.wire.h2_head import H2RequestHead, H2ResponseHead
from wiretape.wire.http1 import RequestHead, ResponseHead

AnyRequestHead = RequestHead | H2RequestHead
AnyResponseHead = ResponseHead | H2ResponseHead
"""Heads of any version of HTTP; each can be turned into those of the others."""

Pieces = list[bytes]
"""Bytes of a body in order, without their transfer coding."""


class Client(NamedTuple):
    """Whose exchange it is: what the log says of a client's connection.

    Attributes:
        connection: its number in the log.
        name: the client's address.
        source: how it came: ``explicit``, ``connect``, ``reverse``, ``socks`` or ``transparent``.
        accepted_at: the address it had connected to.
    """

    connection: int
    name: str
    source: str
    accepted_at: str = ""


class Request(msgspec.Struct, frozen=True):
    """A request as it goes to a server.

    Attributes:
        head: the head as it came.
        route: the server it is for.
        target: the request-target to send there.
        authority: what the Host field has to say, or None to leave it alone.
    """

    head: AnyRequestHead
    route: Route
    target: bytes
    authority: bytes | None


class Refusal(NamedTuple):
    """Why the client gets an answer of our own.

    Attributes:
        status: the status code.
        code: the error's code, for programs.
        message: one sentence, maybe with hostile text in it.
        hint: what to do next, or "".
    """

    status: int
    code: str
    message: str
    hint: str = ""


class NotLookedAtError(NetworkError):
    """A server says that it has done nothing with a request: it may be sent again, whatever it asks for."""

    code = "server-refused"


class Timeouts(NamedTuple):
    """How long an exchange waits, in seconds.

    What they end is what nobody waits for any more: a server that is gone without a word.

    Attributes:
        connect: for one address of a server, and again for the TLS handshake.
        first_byte: from the last byte of the request, or the last interim response, to the response.
        idle: between two pieces of a body, on either side; a client that reads nothing does not count.
    """

    connect: float = CONNECT_SECONDS
    first_byte: float = WAIT_SECONDS
    idle: float = WAIT_SECONDS


class BytesFromClient(Protocol):
    """What listens to a downstream after a switch."""

    def request_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Take more of the request's body."""

    def client_full(self, full: bool) -> None:
        """Take note that the client does not read fast enough, or does again."""

    def client_left(self, error: Exception | None) -> None:
        """Take note that the connection is gone; ``error`` is None where the client ended it in order."""


class FromClient(BytesFromClient, Protocol):
    """What listens to a downstream."""

    def request_broken(self, error: ProtocolError) -> None:
        """Take note that the rest of the request cannot be read; ``error.pieces`` came before the fault."""


class BytesFromServer(Protocol):
    """What listens to an upstream after a switch."""

    def response_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Take more of the response's body."""

    def server_full(self, full: bool) -> None:
        """Take note that the server does not read fast enough, or does again."""

    def server_left(self, error: Exception | None, untouched: bool, unparsed: bytes) -> None:
        """Take note that the connection is gone before the response was whole.

        Args:
            error: None where the server ended it in order; a NetworkError where there are words for it, a
                NotLookedAtError where the server has said that much.
            untouched: the connection had served before, and no byte came for this exchange.
            unparsed: what came of a head that is not whole.
        """

    def tick(self, now: int, timeouts: Timeouts) -> None:
        """Look at the time, about once a second; ``now`` in perf_counter nanoseconds."""


class FromServer(BytesFromServer, Protocol):
    """What listens to an upstream."""

    def response_interim(self, head: AnyResponseHead) -> None:
        """Take a 1xx response; the final one follows."""

    def response(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Take the final response's head, and what of its body came with it."""

    def response_broken(self, error: ProtocolError, head: AnyResponseHead | None, unparsed: bytes) -> None:
        """Take note that the response cannot be read.

        Args:
            error: why; ``error.pieces`` are those of the body before the fault.
            head: the head, where the fault is in the first bytes of its body and ``response`` was not called.
            unparsed: what came where a head should be.
        """

    def switched(self, head: AnyResponseHead) -> BytesFromServer:
        """Take a response after which another protocol is spoken; return who listens from now on."""


class Downstream(Protocol):
    """The client's side of one exchange. Its connection goes on with the next one after an ``end`` by itself.

    Attributes:
        client: whose connection it is.
        full: the client does not read as fast as it is sent to.
    """

    client: Client
    full: bool

    @property
    def protocol(self) -> str:
        """What the log says of its version of HTTP: ``h2``, or empty for HTTP/1."""

    @property
    def number(self) -> int:
        """The number of its stream, 0 for HTTP/1."""

    def interim(self, head: AnyResponseHead) -> None:
        """Send a 1xx response."""

    def respond(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send the final response's head and what there is of its body."""

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body."""

    def refuse(self, refusal: Refusal) -> None:
        """Send an answer of our own; nothing of the response has been sent."""

    def reset(self) -> None:
        """End the exchange so that the client cannot take what it has for whole."""

    def pause(self) -> None:
        """Let no more of the request come for now; what has come already may still be delivered."""

    def resume(self) -> None:
        """Let it come again."""

    def switch(self, listener: BytesFromClient) -> None:
        """Hand to ``listener``, as they come, all bytes after the request."""

    def respond_switched(self, head: AnyResponseHead) -> None:
        """Send the head after which another protocol is spoken."""

    def close(self) -> None:
        """Send what is waiting to be sent, then end the connection; after a switch only."""


class Upstream(Protocol):
    """The server's side of one exchange: a lease on a connection.

    Attributes:
        server: what the log says of it.
        reused: it has served an exchange before.
        full: the server does not read as fast as it is sent to.
    """

    server: Server
    reused: bool
    full: bool

    @property
    def noted(self) -> Stream | None:
        """The session's stream to which ``note`` was called last."""

    def note(self, stream: Stream) -> None:
        """Record in a session's stream what is known of the connection, for its first exchange there."""

    def send_request(self, request: Request, pieces: Pieces, end: bool, trailers: bytes, listener: FromServer) -> None:
        """Send the head and what there is of the body; ``listener`` hears what comes, maybe before this returns."""

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body."""

    def pause(self) -> None:
        """Let no more of the response come for now."""

    def resume(self) -> None:
        """Let it come again."""

    @property
    def sent(self) -> bool:
        """Whether what was to be sent has left this process."""

    def give_back(self) -> None:
        """End the lease: request and response are whole. The connection is kept where the protocol allows."""

    def finish(self) -> None:
        """End the lease of an exchange that was answered early: the server is still given what was to be sent."""

    def reset(self) -> None:
        """End the lease in the middle; the server may not take what it has for whole."""

    def switch(self, listener: BytesFromServer) -> None:
        """Hand all bytes to ``listener``; for a connection on which no request was sent."""

    def close(self) -> None:
        """Send what is waiting to be sent, then end the connection; ``server_left`` follows."""


class Seeker(Protocol):
    """Who waits for a connection to a server."""

    def connected(self, upstream: Upstream, times: ConnectTimes) -> None:
        """Take the lease."""

    def unreachable(self, error: NetworkError) -> None:
        """Take note that there is none."""


class Search(Protocol):
    """A connection that is being made."""

    def cancel(self) -> object:
        """Give it up; the seeker hears nothing any more."""


class Upstreams(Protocol):
    """Where leases come from."""

    def take(self, route: Route, owner: int) -> Upstream | None:
        """Return a lease on a connection that stands, or None. ``owner`` is the client connection that asks."""

    def seek(self, route: Route, owner: int, seeker: Seeker) -> Search:
        """Make a connection for ``seeker``, which hears of it in a later turn of the loop."""


class Change(NamedTuple):
    """What goes on in the place of a message that is held.

    Attributes:
        acts: which rules did what; at least one.
        request: of a request, what goes to the server; None for the one that came.
        head: of a response, what the client gets; None for the one that came.
        pieces: the whole body that goes on, None for the one that came.
    """

    acts: tuple[Act, ...]
    request: Request | None = None
    head: AnyResponseHead | None = None
    pieces: Pieces | None = None


class Held(Protocol):
    """An exchange that a decision holds back. What is called when nothing is held any more does nothing.

    Attributes:
        request: as it came.
    """

    request: Request

    @property
    def client(self) -> Client:
        """Whose it is."""

    @property
    def body(self) -> tuple[Pieces, bool]:
        """What has come of the body of the message that is held, and whether it is whole."""

    def more(self) -> None:
        """Let more of the request come; ``Case.request_more`` hears of it."""

    def no_more(self) -> None:
        """Let no more of the request come until it goes on."""

    def forget_body(self) -> None:
        """Let go of what has come of the request's body: it is in the log, and nobody is sent it."""

    def proceed(self, change: Change | None = None) -> None:
        """Go on; a body is replaced only once it is whole."""

    def answer(self, head: AnyResponseHead, pieces: Pieces, acts: tuple[Act, ...], state: EndState) -> None:
        """Answer the client with this response without asking a server; only while the request is held."""

    def drop(self, acts: tuple[Act, ...]) -> None:
        """Break the client's connection off without an answer."""


class Case(Protocol):
    """What is decided about one exchange. Each message is held until ``proceed``, ``answer`` or ``drop`` is called."""

    @property
    def watches_response(self) -> bool:
        """Whether it has to hear of the response; asked when the request goes on."""

    def begin(self) -> None:
        """Decide about the request, now or later; its head is in the log, no server has been asked for."""

    def request_more(self) -> None:
        """Take note that more of the request's body has come."""

    def response_seen(self, head: AnyResponseHead) -> bool:
        """Decide about the response, now or later; what has come is in the log, nothing went to the client.

        Returns:
            Whether more of it may come while it is held.
        """

    def response_more(self) -> None:
        """Take note that more of the response's body has come."""

    def ended(self) -> None:
        """Take note that the exchange ended otherwise than by a decision; nothing is waited for any more."""


class Decider(Protocol):
    """Who may decide about exchanges; there is none unless there are rules."""

    def request_seen(self, exchange: Held) -> Case | None:
        """Return what decides about an exchange, None where no rule is for it."""
