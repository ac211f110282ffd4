"""A web shop with the usual awkwardness, as values: what a client sends on its walk to the checkout, and the answers.

Compressed JSON of 200 KB, cookies that are percent-encoded, a token with claims, redirects, a flaky stock, GraphQL that
fails with 200, an upload, protobuf, a streamed chat completion, a WebSocket, pictures. **The bug**: the client may take
``price.net`` where ``price.gross`` is due; the shop then answers 422 and does not say what it had expected.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import quote

import brotli

EMAIL: Final = "ada.byron@example.com"
PASSWORD: Final = "hunter2!"
CARD: Final = "tok_visa_4242"
CHOSEN: Final = "p_0151"
VARIANT: Final = "v_0151_1"
NET: Final = 14_412
GROSS: Final = 17_150
SHIPPING: Final = 490
DUE: Final = 2 * GROSS + SHIPPING
"""What the order costs; the client with the bug sends twice the net price and the shipping."""
WRONG: Final = 2 * NET + SHIPPING
SAID: Final = (
    "Sure! For a wet autumn in Berlin I would pick the Alpine Parka 151 in sand, size XL. It is waxed cotton, so it "
    "stays dry, and at 171,50 EUR it is within your budget. Shall I add it to your cart?"
)
PAGES: Final = 4
PER_PAGE: Final = 150
WHOLE: Final = 2
"""The page that is as large as it says; the others are short, or every test would read them, too."""
_WORDS: Final = (
    "soft",
    "light",
    "durable",
    "recycled",
    "woven",
    "waxed",
    "oak",
    "steel",
    "cotton",
    "linen",
    "warm",
    "dry",
)
_FIRST: Final = ("Nordic", "Alpine", "Urban", "Classic", "Eco")
_SECOND: Final = ("Runner", "Parka", "Lamp", "Atlas", "Planter")
_JSON: Final = "application/json; charset=utf-8"
_LARGE: Final = 1_400

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """One exchange: what is sent, what is answered, and how long it takes in ms, since when it began after the last.

    ``pieces`` are the parts in which a streamed answer comes, each with its ms; ``switched`` says that the connection
    goes on in another protocol, of which ``more`` bytes passed.
    """

    method: str
    path: str
    headers: Headers
    body: bytes = b""
    status: int = 200
    answer_headers: Headers
    answer: bytes = b""
    ms: float = 3.0
    after: float = 1.5
    pieces: tuple[tuple[float, bytes], ...] = ()
    more: int = 0


def product(number: int) -> dict[str, Any]:
    """Return one of the products; 151 is the one that is bought."""
    chance = random.Random(number)
    net = 990 + (number * 7_919 + 14_653) % 19_000
    return {
        "id": f"p_{number:04d}",
        "sku": f"SKU-{number:05d}",
        "title": f"{chance.choice(_FIRST)} {chance.choice(_SECOND)} {number}",
        "category": ("shoes", "jackets", "lamps", "books", "garden")[number % 5],
        "description": " ".join(chance.choice(_WORDS) for _ in range(60)),
        "price": {"currency": "EUR", "net": net, "vatRate": "0.19", "gross": round(net * 1.19)},
        "variants": [
            {
                "id": f"v_{number:04d}_{at}",
                "color": color,
                "size": size,
                "stock": chance.randrange(40),
                "attributes": {
                    "weightG": chance.randrange(100, 2_000),
                    "madeIn": chance.choice(("PT", "VN", "PL", "TR")),
                    "labels": [{"code": "oeko", "since": 2019 + chance.randrange(5)}],
                },
            }
            for at, (color, size) in enumerate((("red", "S"), ("blue", "M"), ("black", "L"), ("sand", "XL")))
        ],
        "images": [{"url": f"/images/p_{number:04d}_{at}.png", "w": 640, "h": 480} for at in range(3)],
        "seller": {
            "name": f"Seller {number % 17}",
            "contact": {"email": f"seller{number % 17}@marketplace.example", "phone": f"+49 30 {1_000_000 + number}"},
        },
        "rating": {"avg": round(chance.uniform(2, 5), 2), "count": chance.randrange(900)},
    }


def picture(seed: str) -> bytes:
    """Return a PNG of 160 by 120 pixels of noise."""
    chance = random.Random(seed)
    rows = b"".join(b"\x00" + chance.randbytes(480) for _ in range(120))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 160, 120, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def compact(value: Any) -> bytes:
    """Return JSON as the shop and its client write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def token(claims: dict[str, Any]) -> str:
    """Return a JWT, signed as the shop signs (HS256)."""

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{text(compact({'alg': 'HS256', 'typ': 'JWT'}))}.{text(compact(claims))}"
    return f"{signed}.{text(hmac.digest(b'dev-secret', signed.encode(), hashlib.sha256))}"


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: bytes | int) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _framed(message: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + struct.pack(">I", len(message)) + message


@dataclass
class Walk:
    """A walk through the shop; the same ``seed`` gives the same ids, another one others.

    Args:
        seed: of everything that is new in each run.
        bug: the client takes the wrong price.
        host: HOST:PORT of the shop.
        began: seconds since the epoch.
    """

    seed: int
    host: str
    began: float
    bug: bool = False
    talks: list[Talk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._now = self.began
        self._own: Headers = []
        self._read()
        cart = self._buy()
        self._pay(cart)

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Open the page, log in, look at all products, choose one."""
        page = b"<!doctype html><title>Shop</title><link rel=stylesheet href=/static/app.css><h1>Shop</h1>"
        self._talk("GET", "/", answer=page, kind="text/html; charset=utf-8")
        for name in ("app.css", "app.js", "vendor.js"):
            text = f"/* {name} */\n".encode() + b"body{margin:0}\n" * 2_000
            more = [("Content-Encoding", "gzip"), ("ETag", '"v1"'), ("Cache-Control", "max-age=60")]
            kind = "text/css" if name.endswith("css") else "application/javascript"
            self._talk("GET", f"/static/{name}", answer=gzip.compress(text, mtime=0), kind=kind, answered=more)
        self._login()
        self._telemetry("login")
        for number in range(1, PAGES + 1):
            self._products(number)
        unchanged = [("If-None-Match", '"v1"')]
        self._talk("GET", "/static/app.css", status=304, sent=unchanged, answered=[("ETag", '"v1"')])
        self._talk("GET", "/p/151", status=301, answered=[("Location", "/products/151")])
        self._talk("GET", "/products/151", status=307, answered=[("Location", f"/api/v2/products/{CHOSEN}")])
        self._json("GET", f"/api/v2/products/{CHOSEN}", answer={"data": product(151)})
        for at in range(2):
            name = f"{CHOSEN}_{at}.png"
            self._talk("GET", f"/images/{name}", answer=picture(name), kind="image/png")
        query = "query Recommendations($id: ID!) { recommendations(for: $id) { id title } }"
        rows = [{"id": f"p_{number:04d}", "title": product(number)["title"]} for number in range(40, 52)]
        self._graphql("Recommendations", query, {"id": CHOSEN}, {"data": {"recommendations": rows}})
        path = f"/api/v2/stock/{VARIANT}"
        self._problem("GET", path, 503, "Stock service unavailable", retryAfter=0.2)
        stock = {"variantId": VARIANT, "available": 7, "asOf": round(self._now + 0.2, 6)}
        self._json("GET", path, answer={"data": stock}, after=200)
        self._chat()

    def _login(self) -> None:
        session, csrf = self._hex(6), base64.b64encode(self._chance.randbytes(24)).decode().replace("A", "/", 1) + "=="
        issued = int(self._now)
        claims = {"sub": "u_1842", "sid": session, "email": EMAIL, "scope": "shop checkout", "iat": issued}
        access = token({**claims, "exp": issued + 3_600})
        refresh = "rt_" + base64.urlsafe_b64encode(self._chance.randbytes(24)).decode()
        self.address = {"street": "Ringstr. 5", "zip": "10115", "city": "Berlin", "country": "DE"}
        user = {"id": "u_1842", "email": EMAIL, "name": "Ada Byron", "address": self.address}
        given = {"accessToken": access, "tokenType": "Bearer", "expiresIn": 3_600, "refreshToken": refresh}
        bucket = self._chance.choice("AB")
        cookies = {"csrf_token": quote(csrf, safe=""), "sid": session, "ab_bucket": bucket}
        ends = ("Path=/; SameSite=Lax; Secure", "Path=/; HttpOnly; Secure; SameSite=Lax", "Path=/")
        set_cookies = [
            ("Set-Cookie", f"{name}={value}; {end}") for (name, value), end in zip(cookies.items(), ends, strict=True)
        ]
        self._json(
            "POST",
            "/auth/login",
            {"email": EMAIL, "password": PASSWORD, "device": self._uuid()},
            answer={"data": {"session": given, "user": user}},
            answered=set_cookies,
            ms=5,
        )
        self.csrf = csrf
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._own = [("Authorization", f"Bearer {access}"), ("Cookie", cookie)]

    def _products(self, number: int) -> None:
        path = f"/api/v2/products?page={number}&per_page={PER_PAGE}"
        first = (number - 1) * PER_PAGE
        rows = [product(at) for at in range(first, first + (PER_PAGE if number == WHOLE else 10))]
        following = f"/api/v2/products?page={number + 1}&per_page={PER_PAGE}" if number < PAGES else None
        meta = {"page": number, "perPage": PER_PAGE, "total": PAGES * PER_PAGE, "generatedAt": round(self._now, 6)}
        answer = {"meta": meta, "links": {"next": following}, "data": rows}
        self._json("GET", path, sent=[("X-Correlation-Id", self._uuid())], answer=answer, ms=30 + 3 * number)

    def _chat(self) -> None:
        """Ask a language model, which streams words, a call of a tool, and at the end what it has used."""
        system = "You are a shop assistant. " + "Be brief. " * 40
        asked = f"What do I wear in Berlin in November? My mail is {EMAIL}"
        body = {
            "model": "gpt-shop",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": asked}],
            "tools": [{"type": "function", "function": {"name": "add_to_cart", "parameters": {"type": "object"}}}],
        }
        events = self._chunks()
        pieces = tuple((3.0 + 4.0 * at, b"data: " + event + b"\n\n") for at, event in enumerate(events))
        self._talk(
            "POST",
            "/v1/chat/completions",
            body=compact(body),
            sent=[("Content-Type", "application/json")],
            answer=b"".join(piece for _, piece in pieces),
            pieces=pieces,
            kind="text/event-stream; charset=utf-8",
            answered=[("Cache-Control", "no-cache")],
            ms=5.0 + 4.0 * len(events),
        )

    def _chunks(self) -> list[bytes]:
        base = {
            "id": f"chatcmpl-{self._hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(self._now),
            "model": "gpt-shop-2026-08-01",
            "system_fingerprint": "fp_44709d6fcb",
        }

        def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return compact({**base, "choices": [choice], "usage": None})

        def tool(**function: str) -> dict[str, Any]:
            return {"tool_calls": [{"index": 0, "function": function}]}

        words = SAID.split(" ")
        called = {"index": 0, "id": "call_9aXq", "type": "function"}
        given = compact({"productId": CHOSEN, "quantity": 1}).decode()
        usage = {
            "prompt_tokens": 812,
            "completion_tokens": len(words) + 14,
            "total_tokens": 826 + len(words),
            "prompt_tokens_details": {"cached_tokens": 640},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        return [
            event({"role": "assistant", "content": "", "refusal": None}),
            *(event({"content": (" " if at else "") + word}) for at, word in enumerate(words)),
            event({"tool_calls": [{**called, "function": {"name": "add_to_cart", "arguments": ""}}]}),
            *(event(tool(arguments=given[at : at + 6])) for at in range(0, len(given), 6)),
            event({}, "tool_calls"),
            compact({**base, "choices": [], "usage": usage}),
            b"[DONE]",
        ]

    def _buy(self) -> str:
        """Fill the cart, upload a picture for a gift card, reserve, ask what the shipping costs, try a coupon."""
        csrf = [("X-Csrf-Token", self.csrf)]
        cart = f"c_{self._hex(5)}"
        empty = {"id": cart, "items": [], "owner": EMAIL}
        place = [("Location", f"/api/v2/cart/{cart}")]
        self._json("POST", "/api/v2/cart", {}, sent=csrf, answer={"data": empty}, status=201, answered=place)
        item = {"productId": CHOSEN, "variantId": VARIANT, "quantity": 2}
        totals = {"net": 2 * NET, "vat": 2 * (GROSS - NET), "gross": 2 * GROSS, "currency": "EUR"}
        full = {**empty, "items": [{"lineId": self._hex(4), **item}], "totals": totals}
        path = f"/api/v2/cart/{cart}"
        self._json("POST", f"{path}/items", item, sent=csrf, answer={"data": full}, status=201)
        self._talk("GET", "/api/v2/cart/current", status=302, answered=place)
        self._json("GET", path, answer={"data": {**full, "updatedAt": round(self._now, 6)}})
        self._upload(csrf)
        self._reserve(cart)
        self.quote = f"q_{self._hex(4)}"
        cost = {"carrier": "DHL", "cost": SHIPPING, "etaDays": 2, "quoteId": self.quote}
        self._json("GET", f"/api/v2/shipping/quote?cartId={cart}&zip=10115", answer={"data": cost}, ms=1_502.4)
        query = (
            "mutation ApplyCoupon($cartId: ID!, $code: String!) "
            "{ applyCoupon(cartId: $cartId, code: $code) { cartId discount } }"
        )
        expired = {
            "message": "Coupon expired",
            "path": ["applyCoupon"],
            "extensions": {"code": "COUPON_EXPIRED"},
        }
        refused = {"data": {"applyCoupon": None}, "errors": [expired]}
        self._graphql("ApplyCoupon", query, {"cartId": cart, "code": "AUTUMN25"}, refused)
        key = base64.b64encode(self._chance.randbytes(16)).decode()
        upgrade = [("Upgrade", "websocket"), ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13")]
        accepted = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        switched = [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Accept", accepted.decode())]
        self._talk("GET", "/ws/notifications", status=101, sent=upgrade, answered=switched, more=231, ms=4)
        return cart

    def _upload(self, csrf: Headers) -> None:
        border = self._hex(16)
        data = self._chance.randbytes(5_000)
        note = compact({"kind": "gift-card", "note": "for Charles"})
        form = b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\nContent-Type: %b\r\n\r\n%b\r\n'
        body = form % (border.encode(), b"meta", b"", b"application/json", note)
        body += form % (border.encode(), b"file", b'; filename="gift.png"', b"image/png", data)
        body += b"--%b--\r\n" % border.encode()
        parts = [
            {"name": "meta", "type": "application/json", "size": len(note), "sha256": hashlib.sha256(note).hexdigest()},
            {"name": "file", "filename": "gift.png", "size": 5_000, "sha256": hashlib.sha256(data).hexdigest()},
        ]
        self._json(
            "POST",
            "/api/v2/uploads",
            body=body,
            sent=[("Content-Type", f"multipart/form-data; boundary={border}"), *csrf],
            answer={"data": {"uploadId": f"up_{self._hex(4)}", "parts": parts}},
            status=201,
        )

    def _reserve(self, cart: str) -> None:
        asked = _field(1, VARIANT.encode()) + _field(2, 2) + _field(3, cart.encode())
        told = (
            _field(1, f"res_{self._hex(4)}".encode()) + _field(2, 1) + _field(3, _field(1, b"v_0042_1") + _field(2, 7))
        )
        kind = "application/grpc-web+proto"
        self._talk(
            "POST",
            "/inventory.v1.Inventory/Reserve",
            body=_framed(asked),
            sent=[("Content-Type", kind), ("X-Grpc-Web", "1")],
            answer=_framed(told) + _framed(b"grpc-status:0\r\ngrpc-message:OK\r\n", 0x80),
            kind=kind,
        )

    def _pay(self, cart: str) -> None:
        """Click, pay, and tell the shop how it went."""
        self._telemetry("checkout_click", after=900)
        body = {
            "cartId": cart,
            "shippingQuote": self.quote,
            "shippingAddress": self.address,
            "payment": {"method": "card", "token": CARD, "amount": WRONG if self.bug else DUE, "currency": "EUR"},
            "clientRef": self._uuid(),
            "placedAt": round(self._now, 6),
        }
        sent = [("X-Csrf-Token", self.csrf), ("Idempotency-Key", self._uuid())]
        path = "/api/v2/checkout"
        if self.bug:
            error = {
                "pointer": "/payment/amount",
                "code": "amount_mismatch",
                "detail": "payment.amount does not match the order total",
            }
            self._problem("POST", path, 422, "Validation failed", [error], value=body, sent=sent, ms=1)
            self._telemetry("checkout_failed")
            return
        order = f"ORD-{self._hex(4).upper()}"
        placed = {"orderId": order, "state": "confirmed", "total": DUE, "receiptEmail": EMAIL}
        place = [("Location", f"/api/v2/orders/{order}")]
        self._json("POST", path, body, sent=sent, answer={"data": placed}, status=201, answered=place, ms=31)
        self._json("GET", f"/api/v2/orders/{order}", answer={"data": {"orderId": order, "state": "confirmed"}})
        self._telemetry("done")

    # -- how they are written ----------------------------------------------------------------------------------------

    def _telemetry(self, event: str, *, after: float = 1.5) -> None:
        value = {"event": event, "ts": round(self._now, 6), "anon": self._uuid()}
        sent = [("Content-Type", "application/json")]
        self._talk("POST", "/telemetry", body=compact(value), sent=sent, status=204, ms=0.4, after=after)

    def _graphql(self, name: str, query: str, variables: dict[str, Any], answer: dict[str, Any]) -> None:
        self._json(
            "POST", "/graphql", {"operationName": name, "query": query, "variables": variables}, answer=answer, ms=2
        )

    def _problem(
        self,
        method: str,
        path: str,
        status: int,
        title: str,
        errors: Sequence[dict[str, str]] = (),
        *,
        value: Any = None,
        sent: Headers | None = None,
        ms: float = 2,
        **more: Any,
    ) -> None:
        kind = f"https://shop.example/problems/{title.lower().replace(' ', '-')}"
        said = {"type": kind, "title": title, "status": status, "traceId": self._hex(8), "errors": list(errors), **more}
        problem = "application/problem+json"
        self._json(method, path, value, sent=sent, answer=said, status=status, kind=problem, ms=ms)

    def _json(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        answer: Any,
        body: bytes = b"",
        sent: Headers | None = None,
        answered: Headers | None = None,
        status: int = 200,
        kind: str = _JSON,
        ms: float = 3,
        after: float = 1.5,
    ) -> None:
        data = compact(answer)
        more = [("X-Request-Id", self._hex(8)), ("Vary", "Accept-Encoding"), ("Server", "shop/3.4"), *(answered or [])]
        if len(data) > _LARGE:
            data = brotli.compress(data, quality=4)
            more.append(("Content-Encoding", "br"))
        asked = list(sent or [])
        if value is not None:
            body = compact(value)
            asked = [("Content-Type", "application/json"), *asked]
        self._talk(
            method,
            path,
            body=body,
            sent=asked,
            answer=data,
            kind=kind,
            answered=more,
            status=status,
            ms=ms,
            after=after,
        )

    def _talk(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        sent: Headers | None = None,
        answer: bytes = b"",
        kind: str | None = None,
        answered: Headers | None = None,
        status: int = 200,
        ms: float = 3,
        after: float = 1.5,
        pieces: tuple[tuple[float, bytes], ...] = (),
        more: int = 0,
    ) -> None:
        self._now += after / 1_000
        upgrade = any(name == "Upgrade" for name, _ in sent or [])
        headers = [
            ("Accept", "application/json"),
            ("Accept-Encoding", "gzip, deflate, br"),
            ("Connection", "Upgrade" if upgrade else "keep-alive"),
            ("User-Agent", "shop-cli/1.9"),
            *([] if upgrade else self._own),
            *(sent or []),
        ]
        if body or method == "POST":
            headers.append(("Content-Length", str(len(body))))
        told = [] if kind is None else [("Content-Type", kind)]
        told += answered or []
        told.append(("Date", formatdate(self._now, usegmt=True)))
        if pieces:
            told.append(("Transfer-Encoding", "chunked"))
        elif status not in {101, 204, 304}:
            told.append(("Content-Length", str(len(answer))))
        self.talks.append(
            Talk(
                method=method,
                path=path,
                headers=headers,
                body=body,
                status=status,
                answer_headers=told,
                answer=answer,
                ms=ms,
                after=after,
                pieces=pieces,
                more=more,
            )
        )
        self._now += ms / 1_000

    def _hex(self, size: int) -> str:
        return self._chance.randbytes(size).hex()

    def _uuid(self) -> str:
        text = f"{self._chance.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
