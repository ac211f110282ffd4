"""TLS on both sides of the recorder: the contexts, and what a handshake that failed means in words.

What the recorder sees of a client that does not trust our certificate
-----------------------------------------------------------------------
Found by experiment with ``loop.connect_accepted_socket(..., ssl=...)``; asyncio (3.11) and uvloop (0.23) agree on all
of it, in TLS 1.2 and 1.3 alike, except where said.

1. *The client verifies inside the handshake* (curl and s_client with OpenSSL, Python's ssl, Chromium). Its alert takes
   the place of its Finished, in TLS 1.3 too: there only a *server's* alert about a *client's* certificate comes after
   the handshake. ``connect_accepted_socket`` raises ``ssl.SSLError`` with a ``reason`` of ``TLSV1_ALERT_UNKNOWN_CA`` or
   a sibling, and no method of the protocol is called, neither ``connection_made`` nor ``connection_lost``.
   -> :func:`tls_error`, ``client-refused-certificate``
2. *The client just leaves inside the handshake* (Node in TLS 1.3): a ``ConnectionResetError`` is raised, without an
   errno where the stream ended in order; again no method is called.  -> :func:`tls_error`, ``client-left-handshake``
3. *The client completes the handshake, looks at the certificate then, and closes* (Node in TLS 1.2; wget and git with
   GnuTLS in both): ``connection_made``, ``connect_accepted_socket`` returns, and then, without one ``data_received``,
   ``connection_lost``, with None, or with ``ConnectionResetError(ECONNRESET)`` in TLS 1.3, where the client leaves our
   session ticket unread. A connection opened in advance and not used looks the same, hence another code.
   -> :func:`unused_connection_error`, ``client-left-unused``
4. An alert after the handshake, should a client send one, is a ``connection_lost`` with the ``ssl.SSLError`` of case 1.
   -> :func:`unused_connection_error`, ``client-refused-certificate``

A handshake that times out raises ``ConnectionAbortedError``; what is no TLS at all, ``ssl.SSLError`` with
``HTTP_REQUEST`` or ``WRONG_VERSION_NUMBER``. An ECONNRESET in ``connection_lost`` *after* data is no failure: a client
that does not read our ticket resets a good connection, too. Both loops drop the alert that OpenSSL prepared when *we*
refuse: the peer sees the end of the stream only.

A server's stream that ends without close_notify, which may be a body cut short by an attacker, can be told from one
that ends in order by uvloop only: it calls ``eof_received`` for a close_notify and for nothing else, asyncio for both.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from wiretape.errors import NetworkError, StorageError, UsageError
from wiretape.tls import roots as trust
from wiretape.tls.authority import CertificateAuthority, Leaf, host_name
from wiretape.tls.server_hello import ServerHelloFinder

Side = Literal["client", "server"]

MAX_CONTEXTS: Final = 1024  # 27 KiB each, measured
RENEW_AFTER: Final = 30 * 86400.0  # seconds; a leaf lives 395 days, a daemon may run for months


class ServerContexts:
    """Server contexts for intercepted hosts, made on first use (about 1 ms) and kept for the hosts used last.

    Each speaks TLS 1.2 and 1.3 with an ECDSA P-256 certificate for its host. A context kept is also what makes
    resumption work, as it holds the keys of its session tickets: a resumed TLS 1.2 handshake costs us a quarter of a
    full one (34 against 134 microseconds), and in TLS 1.3 it spares the client its verification.
    """

    def __init__(self, ca: CertificateAuthority, *, limit: int = MAX_CONTEXTS, keylog: str = "") -> None:
        self._keylog = keylog
        self._ca = ca
        self._limit = limit
        self._contexts: OrderedDict[tuple[str, tuple[str, ...]], tuple[float, ssl.SSLContext]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._contexts)

    def for_host(self, host: str, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
        """Return the context for ``host``.

        Args:
            host: the name in SNI, or the host of the CONNECT target where there is none.
            alpn: the protocols to offer, best first; none for no ALPN.

        Raises:
            ProtocolError: ``host`` is not a host (code ``bad-host``).
            StorageError: OpenSSL could not be given the certificate.
        """
        key = (host_name(host), tuple(alpn))
        now = time.monotonic()
        made, context = self._contexts.get(key, (0.0, None))
        if context is None or now - made > RENEW_AFTER:
            context = _server_context(self._ca.leaf(key[0]), key[1])
            if self._keylog:
                context.keylog_filename = self._keylog
            self._contexts[key] = (now, context)
        self._contexts.move_to_end(key)
        if len(self._contexts) > self._limit:
            self._contexts.popitem(last=False)
        return context


def _server_context(leaf: Leaf, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996; Python's default, said against system-wide settings
    context.options |= ssl.OP_NO_RENEGOTIATION  # HTTP has no use for it, and a client could burn our core with it
    # One TLS 1.3 ticket instead of two: 8 % off a full handshake (171 against 187 microseconds); whoever resumes
    # gets a fresh one each time.
    context.num_tickets = 1
    if alpn:
        context.set_alpn_protocols(list(alpn))
    _load_chain(context, leaf)
    return context


def _load_chain(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Load ``leaf`` into OpenSSL, which reads files only: through pipes, so that the key never lies on a disk."""
    ends: list[int] = []
    try:
        for data in (leaf.chain_pem, leaf.key_pem):
            read_end, write_end = os.pipe()
            ends.append(read_end)
            with open(write_end, "wb") as pipe:
                pipe.write(data)  # 2 KB; the smallest buffer of a pipe is 16 KiB (macOS)
        context.load_cert_chain(*(f"/dev/fd/{end}" for end in ends))
    except OSError as exc:  # ssl.SSLError is one
        raise StorageError(
            f"the certificate could not be given to OpenSSL through /dev/fd: {exc.strerror or exc}",
            hint="mount /dev and /proc, and allow more open files (ulimit -n)",
        ) from exc
    finally:
        for end in ends:
            os.close(end)


class UpstreamContexts:
    """The client context for connections to servers.

    It verifies chain and host name against the system's roots (OpenSSL's places, SSL_CERT_FILE and SSL_CERT_DIR) and
    ``extra_ca``, and accepts what curl on this system accepts: OpenSSL's default ciphers, and an intermediate as trust
    anchor. What a client could reach before, it can reach through the recorder.

    Args:
        keylog: a file to which the secrets of connections are appended (NSS key log format), empty for none.
        insecure: accept any certificate, and keys and ciphers too weak for OpenSSL's default security level.
        extra_ca: a PEM file, or a folder of them (``.pem``, ``.crt``, ``.cer``), trusted besides the system's roots.

    Raises:
        UsageError: ``extra_ca`` is missing, unreadable or holds no certificate (code ``upstream-ca``).
    """

    def __init__(self, insecure: bool = False, extra_ca: Path | None = None, *, keylog: str = "") -> None:
        self._keylog = keylog
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._insecure = insecure
        # Read now: a mistake on the command line is told at the start, not at the first request.
        self._extra = read_extra(extra_ca) if extra_ca is not None else ""

    def context(self, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """Return the context that offers these protocols, best first.

        The first call for each loads the roots (20 ms), later ones are free.
        """
        context = self._contexts.get(alpn)
        if context is None:
            context = self._contexts[alpn] = self._make(alpn)
        return context

    def _make(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._keylog:
            context.keylog_filename = self._keylog
        context.set_alpn_protocols(list(alpn))
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            # Servers without RFC 5746, which OpenSSL 3 refuses; Python has a name for it since 3.12.
            context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)
            return context
        context.set_ciphers("DEFAULT")
        # Set here, not left to Python: 3.13's default context adds VERIFY_X509_STRICT, which refuses certificates
        # that every client on the machine accepts.
        context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_default_certs()
        if not context.cert_store_stats()["x509_ca"] and (roots := trust.system_roots()):
            context.load_verify_locations(cadata=b"".join(roots).decode("ascii"))
        if self._extra:
            context.load_verify_locations(cadata=self._extra)
        return context


class _ClientObject(ssl.SSLObject):
    """A connection's TLS that can still be read when the loop has let go of it.

    Attributes:
        incoming: the bytes from the server that are not decrypted yet.
        finder: looks for the ServerHello in them.
    """

    incoming: ssl.MemoryBIO
    finder: ServerHelloFinder

    def do_handshake(self) -> None:
        """Go on with the handshake; look first at what the server has sent."""
        if not self.finder.done:
            # OpenSSL takes all there is and asks for more, so this is always new; looked at, it is put back.
            data = self.incoming.read()
            if data:
                self.incoming.write(data)
                self.finder.feed(data)
        super().do_handshake()

    def decrypt(self, raw: bytes | bytearray) -> tuple[bytes, ssl.SSLError | None]:
        """Return what is in the server's last bytes, and the alert or what else makes no sense where that ends."""
        self.incoming.write(raw)
        plain = bytearray()
        try:
            while data := self.read(65536):
                plain += data
        except (ssl.SSLWantReadError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            return bytes(plain), error
        return bytes(plain), None


class _ClientContext(ssl.SSLContext):
    """A context whose connections keep hold of what they are fed with."""

    sslobject_class = _ClientObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, *args: Any, **options: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(incoming, *args, **options)
        assert isinstance(wrapped, _ClientObject)
        wrapped.incoming = incoming
        wrapped.finder = ServerHelloFinder()
        return wrapped


def server_hello_of(tls: ssl.SSLObject) -> bytes:
    """Return the ServerHello of a connection to a server; nothing where none was seen."""
    return tls.finder.message if isinstance(tls, _ClientObject) else b""


def read_extra(path: Path) -> str:
    """Return the certificates of a PEM file, or of a folder of them, as one text.

    Raises:
        UsageError: it is missing, unreadable or holds no certificate (code ``upstream-ca``).
    """
    hint = "give --upstream-ca a PEM file, or a folder with .pem, .crt or .cer files"
    try:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in {".pem", ".crt", ".cer"})
        blocks = [block for file in files for block in trust.pem_certificates(file.read_bytes())]
    except OSError as exc:
        reason = exc.strerror or exc
        raise UsageError(f"cannot read the upstream CA {path}: {reason}", hint=hint, code="upstream-ca") from exc
    if not blocks:
        raise UsageError(f"There is no PEM certificate in {path}", hint=hint, code="upstream-ca")
    text = b"".join(dict.fromkeys(blocks)).decode("ascii")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except ssl.SSLError as exc:
        raise UsageError(f"a certificate in {path} is damaged", hint=hint, code="upstream-ca") from exc
    return text


def explain_tls_error(exc: BaseException, *, side: Side, host: str) -> tuple[str, str]:
    """Return the code and the sentence, hint included, of :func:`tls_error`."""
    error = tls_error(exc, side=side, host=host)
    return error.code, str(error)


def tls_error(exc: BaseException | None, *, side: Side, host: str) -> NetworkError:
    """Map what a TLS handshake raised to an error with a stable code, a sentence and a hint.

    Args:
        exc: what the loop raised; None stands for the end of the stream.
        side: who the peer is, ``client`` or ``server``.
        host: the host that was asked for; shown, never trusted.
    """
    shown = host if host.isprintable() and len(host) <= 255 else f"{host[:255]!a}"
    reason = getattr(exc, "reason", None) or _unnamed_reason(exc)
    if isinstance(exc, ssl.SSLCertVerificationError) and side == "server":
        return _certificate_error(exc, shown)
    for reasons, kind in _KINDS:
        if any(reason.endswith(name) for name in reasons):
            return _described(kind, side, shown, exc)
    if isinstance(exc, TimeoutError | ConnectionAbortedError):
        return _described("timeout", side, shown, exc)
    if exc is None or isinstance(exc, ConnectionError | EOFError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _described("left", side, shown, exc)
    return _described("failed", side, shown, exc)


def _unnamed_reason(exc: BaseException | None) -> str:
    """Return the reason of an SSLError that Python has no name for: OpenSSL's words, written as its names are."""
    if not isinstance(exc, ssl.SSLError):
        return ""
    words = (exc.strerror or "").partition("] ")[2].partition(" (_ssl.c")[0]
    return words.upper().replace(" ", "_")


def unused_connection_error(exc: BaseException | None, *, host: str) -> NetworkError:
    """Say what a client connection means that ended after its handshake without one byte of a request.

    Args:
        exc: what ``connection_lost`` was given.
        host: the host of the certificate it was shown.
    """
    if getattr(exc, "library", None) == "SSL":
        return tls_error(exc, side="client", host=host)
    return NetworkError(
        f"the client ended its TLS connection to {host} after the handshake, without a request or a reason",
        hint=f"if it shows nothing at all, it does not trust the CA: Node, wget and git refuse like this; {_TRUST}",
        code="client-left-unused",
    )


_TRUST: Final = "have it trust the file that `wiretape ca path` prints, or start it with `wiretape run`"
_VERIFY: Final = "trust its issuer with --upstream-ca FILE, or turn verification off with --insecure-upstream"

# The alerts of RFC 8446 section 6.2 about a certificate, as OpenSSL names them behind SSLV3_, TLSV1_ or TLSV13_.
_KINDS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        (
            "ALERT_UNKNOWN_CA",
            "ALERT_BAD_CERTIFICATE",
            "ALERT_CERTIFICATE_UNKNOWN",
            "ALERT_UNSUPPORTED_CERTIFICATE",
            "ALERT_CERTIFICATE_EXPIRED",
            "ALERT_CERTIFICATE_REVOKED",
            "ALERT_ACCESS_DENIED",
        ),
        "refused-certificate",
    ),
    (("ALERT_CERTIFICATE_REQUIRED", "ALERT_NO_CERTIFICATE"), "wants-certificate"),
    (("UNRECOGNIZED_NAME",), "unknown-name"),
    (("NO_APPLICATION_PROTOCOL",), "no-common-protocol"),
    (
        ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "WRONG_SSL_VERSION", "VERSION_TOO_HIGH"),
        "no-common-version",
    ),
    (
        ("NO_SHARED_CIPHER", "ALERT_HANDSHAKE_FAILURE", "ALERT_INSUFFICIENT_SECURITY", "NO_SUITABLE_KEY_SHARE"),
        "no-common-cipher",
    ),
    (("HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"), "not-tls"),
)

# (side, kind) -> code, sentence with {host}, hint
_TEXTS: Final[dict[tuple[Side, str], tuple[str, str, str]]] = {
    ("client", "refused-certificate"): (
        "client-refused-certificate",
        "the client refused our certificate for {host}: it does not trust the CA, or pins the server's certificate",
        _TRUST,
    ),
    ("client", "left"): (
        "client-left-handshake",
        "the client closed the connection to {host} during the TLS handshake, without saying why",
        f"probably it does not trust the CA; {_TRUST}",
    ),
    ("client", "timeout"): ("client-tls-timeout", "the client did not finish the TLS handshake for {host} in time", ""),
    ("client", "no-common-version"): (
        "client-no-common-version",
        "the client and the recorder have no TLS version in common for {host}",
        "the recorder speaks TLS 1.2 and 1.3",
    ),
    ("client", "no-common-cipher"): (
        "client-no-common-cipher",
        "the client and the recorder have no cipher in common for {host}",
        "the recorder's certificates are ECDSA P-256; the client must offer an ECDHE-ECDSA cipher or TLS 1.3",
    ),
    ("client", "not-tls"): (
        "client-not-tls",
        "the client sent something other than TLS where TLS for {host} was expected",
        "is it an http:// URL on an https port?",
    ),
    ("server", "refused-certificate"): (
        "upstream-refused-certificate",
        "{host} refused the client certificate of this connection",
        "the recorder has no client certificate to show; such a server can only be tunnelled",
    ),
    ("server", "wants-certificate"): (
        "upstream-wants-certificate",
        "{host} demands a client certificate",
        "the recorder has no client certificate to show; such a server can only be tunnelled",
    ),
    ("server", "unknown-name"): ("upstream-unknown-name", "{host} says that it does not serve this name (SNI)", ""),
    ("server", "no-common-protocol"): (
        "upstream-no-common-protocol",
        "{host} speaks neither HTTP/1.1 nor, as far as it is spoken here, HTTP/2 over TLS (ALPN)",
        "",
    ),
    ("server", "left"): ("upstream-closed-handshake", "{host} closed the connection during the TLS handshake", ""),
    ("server", "timeout"): ("upstream-tls-timeout", "{host} did not finish the TLS handshake in time", ""),
    ("server", "no-common-version"): (
        "upstream-no-common-version",
        "{host} and the recorder have no TLS version in common",
        "the recorder speaks TLS 1.2 and 1.3",
    ),
    ("server", "no-common-cipher"): (
        "upstream-no-common-cipher",
        "{host} ended the TLS handshake: no cipher in common, or it demands a client certificate",
        "--insecure-upstream allows older ciphers",
    ),
    ("server", "not-tls"): (
        "upstream-not-tls",
        "{host} answered something other than TLS",
        "is it an http:// server on that port?",
    ),
}


def _described(kind: str, side: Side, host: str, exc: BaseException | None) -> NetworkError:
    if (side, kind) in _TEXTS:
        code, sentence, hint = _TEXTS[side, kind]
        return NetworkError(sentence.format(host=host), hint=hint, code=code)
    who, code = ("the client", "client-tls-failed") if side == "client" else (host, "upstream-tls-failed")
    cause = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
    return NetworkError(f"the TLS handshake between {who} and the recorder for {host} failed: {cause}", code=code)


# X509_V_ERR_* (openssl/x509_vfy.h) -> code, sentence with {host}
_CERTIFICATE_TEXTS: Final[dict[int, tuple[str, str]]] = {
    9: ("upstream-certificate-not-yet-valid", "the certificate of {host} is not valid yet"),
    10: ("upstream-certificate-expired", "the certificate of {host} has expired"),
    18: ("upstream-certificate-self-signed", "the certificate of {host} is self-signed"),
    23: ("upstream-certificate-revoked", "the certificate of {host} was revoked"),
    **dict.fromkeys(
        (2, 19, 20, 21, 27),
        (
            "upstream-certificate-unknown-issuer",
            "the certificate of {host} is from an issuer this machine does not trust",
        ),
    ),
    **dict.fromkeys((62, 64), ("upstream-certificate-mismatch", "the certificate that was shown is not for {host}")),
}


def _certificate_error(exc: ssl.SSLCertVerificationError, host: str) -> NetworkError:
    code, sentence = _CERTIFICATE_TEXTS.get(
        exc.verify_code, ("upstream-certificate-invalid", "the certificate of {host} does not verify")
    )
    hint = _VERIFY if exc.verify_code in {2, 18, 19, 20, 21, 27} else "--insecure-upstream accepts any certificate"
    # OpenSSL's words name the exact cause; they are its own, with the host name that we asked for at most.
    return NetworkError(f"{sentence.format(host=host)}: {exc.verify_message}", hint=hint, code=code)
