"""Many clients at once against a server that knows every byte it may be sent (P14).

The server answers before, while or after it reads a request's body, or refuses it and closes; clients send in pieces,
give up in the middle, or send the next request before they have read the answer. Each exchange's bytes are its own, so
that one which gets to another is seen where it arrives. Then every record is held against what the server got: it is
the same, or it says that the end may be missing. Beside it, users log in to a server that authenticates connections
(NTLM) while others ask for their secrets without credentials.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.bodies import body_for
from harness.checking_origin import CheckingOrigin
from harness.clients import Answer, RawClient, chunked_bytes, request_bytes
from harness.ntlm_origin import NtlmClient, NtlmOrigin
from harness.recorder import RecorderProcess
from prove.part import Figure, Result, Task
from prove.tally import Tally
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.log import Exchange

EXCHANGES = 12_000
ASKED = 4_000
_CLIENTS = 6
_WORLDS = tuple(itertools.product(("http", "https"), ("group", "always")))
_STATUS = {"after": 200, "early": 200, "half": 200, "refuse": 413}


@dataclass(frozen=True, slots=True)
class Upload:
    """One request: its name, what the server is to do, its size, how it is framed; ``given_up`` is after how much."""

    name: str
    when: str
    size: int
    chunked: bool
    given_up: float

    @classmethod
    def drawn(cls, name: str, chance: random.Random) -> Upload:
        """Return one of every kind in turn, as chance has it."""
        when = chance.choice(("after", "early", "early", "half", "half", "half", "refuse"))
        size = chance.choice((1, 5_000, 70_000, 70_000, 150_000, 150_000, 400_000, 1_000_000))
        given_up = chance.random() if chance.random() < 0.15 else 1.0
        return cls(name, when, size, chance.random() < 0.5, given_up)

    def bytes_for(self, origin: CheckingOrigin, chance: random.Random) -> tuple[bytes, bytes]:
        """Return the head and the framed body."""
        prefix = f"http://{origin.authority}" if origin.authority.startswith("127") else ""
        framing = ("Transfer-Encoding", "chunked") if self.chunked else ("Content-Length", str(self.size))
        target = f"{prefix}/{self.when}/{self.name}/{self.size}"
        head = request_bytes("POST", target, host=origin.authority, headers=[framing])
        body = body_for(self.name, self.size)
        step = chance.randint(500, 60_000)
        return head, chunked_bytes(body[at : at + step] for at in range(0, self.size, step)) if self.chunked else body


class Client:
    """Sends one upload after another on a connection, and on a new one when that has ended."""

    def __init__(self, recorder: RecorderProcess, origin: CheckingOrigin, chance: random.Random, tally: Tally) -> None:
        self._recorder = recorder
        self._origin = origin
        self._chance = chance
        self._tally = tally
        self._raw: RawClient | None = None

    def send(self, upload: Upload) -> None:
        """Send ``upload``, whole or in part, and read its answer."""
        raw = self._raw = self._raw or _connect(self._recorder, self._origin)
        head, body = upload.bytes_for(self._origin, self._chance)
        data = head + body[: int(len(body) * upload.given_up)]
        with contextlib.suppress(OSError):  # closed meanwhile: the answer is there
            for at in _cuts(len(data), self._chance):
                raw.send(data[at])
        if upload.given_up < 1:
            self._tally.counts["given up"] += 1
            self.close()
            return
        follower = None
        if self._chance.random() < 0.1:
            follower = Upload(f"{upload.name}-next", "after", 100, False, 1.0)
            with contextlib.suppress(OSError):
                raw.send(b"".join(follower.bytes_for(self._origin, self._chance)))
        if self._open_after(upload) and follower is not None:
            self._open_after(follower)

    def _open_after(self, upload: Upload) -> bool:
        """Read the answer and hold it against what it must be; return whether the connection stays open."""
        assert self._raw is not None
        try:
            answer: Answer = self._raw.read_response("POST")
        except Exception as error:  # noqa: BLE001 -- whatever kept the answer away is what has to be told
            self._tally.expect(False, f"{upload} had no answer: {error!r}")
            self.close()
            return False
        self._tally.counts["answered"] += 1
        own = (answer.status, answer.body) == (_STATUS[upload.when], upload.name.encode())
        self._tally.counts["foreign answers"] += not own
        self._tally.expect(own, f"{upload} was answered {answer.status} {answer.body[:200]!r}")
        if answer.header("Connection") == "close":
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None


def _connect(recorder: RecorderProcess, origin: CheckingOrigin) -> RawClient:
    if origin.authority.startswith("127"):
        return RawClient.plain(recorder.address)
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    return RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context)


def _cuts(size: int, chance: random.Random) -> list[slice]:
    at = sorted({0, size, *(chance.randrange(size) for _ in range(chance.randint(0, 3)))})
    return [slice(begin, end) for begin, end in itertools.pairwise(at)]


def _in_threads(count: int, work: Callable[[int, Tally], None]) -> Tally:
    """Do ``work`` in threads; return what all have counted, and what kept one from its end."""
    tallies = [Tally() for _ in range(count)]

    def guarded(number: int) -> None:
        try:
            work(number, tallies[number])
        except Exception as error:  # noqa: BLE001 -- a client that fails in itself has proven nothing
            tallies[number].expect(False, f"client {number}: {error!r}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _upload(recorder: RecorderProcess, origin: CheckingOrigin, count: int, seed: str) -> Tally:
    def work(number: int, tally: Tally) -> None:
        chance = random.Random(f"{seed}/{number}")
        client = Client(recorder, origin, chance, tally)
        for turn in range(number, count, _CLIENTS):
            client.send(Upload.drawn(f"{number}-{turn}", chance))
        client.close()

    return _in_threads(_CLIENTS, work)


def _says_whole(exchange: Exchange) -> bool:
    return exchange.done is not None and exchange.state == "complete" and not exchange.done.error_code


def _compare(recorder: RecorderProcess, origin: CheckingOrigin) -> Tally:
    """Hold every record against what the server got."""
    tally = Tally()
    exchanges = recorder.exchanges()
    read = [exchange for exchange in exchanges if _says_whole(exchange) and _asked_for(exchange)[0] != "refuse"]
    with contextlib.suppress(AssertionError):  # the last bytes may still be on their way
        wait_until(lambda: all(origin.arrival(_asked_for(each)[1]).whole for each in read), what="the last bodies")
    for exchange in exchanges:
        when, name, size = _asked_for(exchange)
        sent, recorded, arrival = body_for(name, size), recorder.body(exchange, "request"), origin.arrival(name)
        tally.counts["checked"] += arrival.size
        tally.expect(sent.startswith(recorded), f"{name}: what is recorded is not what was sent")
        tally.expect(arrival.size <= len(recorded), f"{name}: {arrival.size} bytes came, {len(recorded)} are recorded")
        if not _says_whole(exchange):
            tally.counts["cut"] += 1
        elif when == "refuse":  # all was given to the server's kernel, and the server closed without a look
            tally.counts["unread"] += 1
        else:
            tally.counts["whole"] += 1
            exact = arrival.whole and arrival.size == len(recorded) == size
            tally.expect(exact, f"{when} {name}: recorded as whole, and {arrival} of {size} came")
    for stranger in origin.strangers:
        tally.counts["strangers"] += 1
        tally.expect(False, f"bytes of another exchange: {stranger}")
    return tally


def _asked_for(exchange: Exchange) -> tuple[str, str, int]:
    when, name, size = exchange.request.head.split(b" ")[1].decode().split("/")[-3:]
    return when, name, int(size)


def _log_in(recorder: RecorderProcess, origin: NtlmOrigin, count: int, seed: str) -> Tally:
    """Have users log in, and others ask for their secrets on connections of their own."""

    def user(number: int, tally: Tally, chance: random.Random) -> None:
        client = NtlmClient(recorder.address, recorder.root, origin)
        client.log_in(f"user{number}")
        for _ in range(chance.randint(0, 3)):
            body = client.get().body
            tally.expect(body == f"the secret of user{number}".encode(), f"user{number} was given {body!r}")
        client.close()

    def work(number: int, tally: Tally) -> None:
        chance = random.Random(f"{seed}/login/{number}")
        for _ in range(number, count, _CLIENTS):
            if number % 2:
                user(number, tally, chance)
                continue
            client = NtlmClient(recorder.address, recorder.root, origin)
            if chance.random() < 0.5:
                tally.expect(client.get("/open").status == 200, "what is open to all was not given")
            status = client.get().status
            client.close()
            tally.counts["asked"] += 1
            tally.counts["shown"] += status != 401
            tally.expect(status == 401, f"asked without credentials: {status}")

    return _in_threads(_CLIENTS, work)


def _world(folder: Path, transport: str, durability: str, seed: str, exchanges: int, asked: int) -> Tally:
    folder.mkdir()
    authority = OriginCA(folder / "authority")
    tls = authority.issue().server_context() if transport == "https" else None
    (folder / "root").mkdir()
    options = {"durability": durability}
    total = Tally()
    with RecorderProcess(folder / "root", upstream_ca=authority.pem, record_options=options) as recorder:
        recorder.record("one")
        with CheckingOrigin(tls) as origin:
            total.add(_upload(recorder, origin, exchanges, seed))
            recorder.record("two")
            recorder.close("one")
            total.add(_compare(recorder, origin))
            total.counts["connections"] += origin.connections
        with NtlmOrigin("NTLM", tls) as servers:
            total.add(_log_in(recorder, servers, asked, seed))
    return total


def run(task: Task) -> Result:
    """Run every world: plain and over TLS, waiting for the disk and not."""
    exchanges = task.share(EXCHANGES, at_least=240) // len(_WORLDS)
    asked = task.share(ASKED, at_least=80) // len(_WORLDS)
    total = Tally()
    for number, (transport, durability) in enumerate(_WORLDS):
        task.report(number, len(_WORLDS), f"{transport}, {durability}")
        seed = f"{task.seed}/{transport}/{durability}"
        total.add(_world(task.folder / f"{transport}-{durability}", transport, durability, seed, exchanges, asked))
    counts = total.counts
    figures: dict[str, Figure] = {
        "uploads": exchanges * len(_WORLDS),
        "answered": counts["answered"],
        "given up by their clients": counts["given up"],
        "connections to the server": counts["connections"],
        "body bytes checked at the server": counts["checked"],
        "bytes of one exchange on another's": counts["strangers"],
        "answers to another's request": counts["foreign answers"],
        "recorded as whole, and the server got the same": counts["whole"],
        "recorded as cut, or answered early": counts["cut"],
        "refused by a server that did not read them": counts["unread"],
        "asked without credentials beside users who had logged in": counts["asked"],
        "shown a secret": counts["shown"],
        "records or answers that were wrong": counts["failures"],
    }
    return Result(figures=figures, failures=total.failures)
