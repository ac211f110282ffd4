"""The index and the check of the log, made apart from each other, say the same about any damage."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session, snapshot
from wiretape.errors import DamagedError
from wiretape.log import Body, Exchange, open_session
from wiretape.log.format import segment_name
from wiretape.log.verify import verify_log
from wiretape.model import ExchangeDetail
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.index.database import Index
from wiretape.session.session import Session


def record(session: SessionDir, chance: random.Random) -> None:
    """Write a session of one or two streams with everything that happens, killed recorders among it."""
    streams = chance.choice([1, 1, 2])
    size = chance.choice([800, 3000, 10**7])
    recordings = [Recording(session, stream=at, streams=streams, segment_bytes=size) for at in range(streams)]
    running: list[tuple[Recording, int]] = []
    for number in range(chance.randint(3, 25)):
        at = chance.randrange(streams)
        recording = recordings[at]
        what = chance.random()
        if what < 0.5:
            recording.exchange(f"http://example.com/{number}")
        elif what < 0.6:
            recording.large(f"http://example.com/{number}", b"B" * 500, piece=100)
        elif what < 0.8:
            running.append((recording, recording.open(f"http://example.com/{number}")))
        elif what < 0.95 and running:
            begun, seq = running.pop(chance.randrange(len(running)))
            if begun in recordings:
                begun.done(seq, b"late")
        elif what > 0.95:
            recording.kill(torn=chance.choice([b"", b"\x89WT\x01"]))
            recordings[at] = Recording(session, stream=at, streams=streams, segment_bytes=size)
    for recording in recordings:
        chance.choice([recording.close, recording.kill])()


def damage(session: SessionDir, chance: random.Random) -> None:
    """Flip bits, zero ranges, cut files short, remove them."""
    for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
        path = chance.choice(sorted(session.log_dir.glob("*.wlog")) or [session.log_dir / "none"])
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        if not data:
            continue
        at, what = chance.randrange(len(data)), chance.random()
        if what < 0.6:
            data[at] ^= 1 << chance.randrange(8)
        elif what < 0.75:
            end = min(len(data), at + chance.randrange(1, 400))
            data[at:end] = bytes(end - at)
        elif what < 0.9:
            del data[at:]
        else:
            path.unlink()
            continue
        path.write_bytes(data)


@pytest.mark.parametrize("seed", range(30))
def test_p11_query_summary_and_verify_agree_about_any_damage(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    record(made, chance)
    damage(made, chance)
    with Catalogue(root).open("last") as session:
        page = session.query(limit=1000)
        found = session.verify()
        summary = session.summary()
        details = [session.exchange(item.seq) for item in page.items]
    states = [item.state for item in page.items]
    assert page.matched == len(details) == found.exchanges == summary.exchanges
    assert states.count("interrupted") == found.interrupted == summary.interrupted
    assert page.coverage.damaged >= found.lost_exchanges
    assert [detail.state for detail in details] == states
    expected = {"clean": "clean", "unclean": "recovered", "damaged": "damaged"}[found.state]
    assert summary.recovery_state == expected


def shown(detail: ExchangeDetail, session: Session) -> dict[str, Any]:
    """What the session's index and the log say of one exchange."""
    given: dict[str, Any] = {"state": detail.state}
    for side in ("request", "response"):
        message = getattr(detail, side)
        if message is not None:
            given[side] = (message.http_version, message.headers, message.trailers, message.url, message.status_code)
            # Zeros stand in the place of what damage took.
            given[f"{side} body"] = b"".join(until_damage(session.raw_body(detail.seq, side, decoded=False)))
            given[f"{side} gaps"] = message.body_gaps
    return given


def read(exchange: Exchange) -> dict[str, Any]:
    """What the log alone says of it."""
    given: dict[str, Any] = {"state": exchange.state}
    request, response = exchange.request, exchange.response
    if exchange.opened is not None:
        given["request"] = (request.version, list(request.headers), list(request.trailers), request.url, None)
        given["request body"], given["request gaps"] = filled(request.body)
    if response is not None and response.head:
        line = (response.version, list(response.headers), list(response.trailers), None, response.status)
        given["response"] = line
        given["response body"], given["response gaps"] = filled(response.body)
    return given


def filled(body: Body) -> tuple[bytes, list[tuple[int, int]]]:
    parts = list(body.parts())
    data = b"".join(bytes(part.end - part.start) if part.data is None else part.data for part in parts)
    return data, [(part.start, part.end) for part in parts if part.data is None]


def until_damage(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except DamagedError:
        return


@pytest.mark.parametrize("seed", [*range(100, 125), 1365, 1561])
def test_p4_reading_the_log_alone_gives_what_the_session_gives_about_any_damage(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = new_session(root)
    record(made, chance)
    damage(made, chance)
    before = snapshot(made.path)
    log = open_session(made.path)
    found = {}
    for exchange in log:
        assert exchange.seq not in found
        found[exchange.seq] = read(exchange)
    assert snapshot(made.path) == before
    assert log.report == verify_log(made.log_dir, made.session_id)
    with Catalogue(root).open("last") as session:
        expected = {detail.seq: shown(detail, session) for detail in session.iterate()}
    assert found == expected


@pytest.mark.parametrize("content", [b"", b"\x89WT\x01", bytes(200), b"no frame at all" * 20])
def test_p6_a_segment_that_was_just_made_or_has_no_beginning_is_nobodys_for_every_reader(
    root: Path, content: bytes
) -> None:
    session = new_session(root)
    recording = Recording(session)
    recording.exchange("http://example.com/1")
    recording.open("http://example.com/2")
    recording.writer.flush()
    (session.log_dir / segment_name(0, 2)).write_bytes(content)
    report = verify_log(session.log_dir, session.session_id)
    assert (report.done, report.interrupted, report.in_flight) == (1, [], [2])
    index = Index(session.path, session.session_id)
    index.follow()
    assert index.report() == report
    index.close()
    log = open_session(session.path)
    assert [exchange.state for exchange in log] == ["complete", "inFlight"]
    assert log.report == report
    recording.close()
