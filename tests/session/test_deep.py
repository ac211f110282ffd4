"""``verify --deep``: bodies against the digests that the recorder took of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from harness.clients import RawClient, request_bytes
from harness.logs import Recording, flip_in, new_session, segment
from harness.origin import Origin
from harness.recorder import RecorderProcess
from tests.cli.support import wiretape
from wiretape.log.format import Done, FrameType
from wiretape.model import VerifyReport
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.session import Session


def deep(made: SessionDir) -> VerifyReport:
    with Session(made.path, made.session_id) as session:
        return session.verify(deep=True)


def forged(recording: Recording, body: bytes, *, recorded: int | None = None, crc: int | None = None) -> int:
    """Record an exchange whose end says something else than its frames hold."""
    seq = recording.open("http://example.com/forged")
    recording.head(seq)
    recording.chunk(seq, 0, body)
    size = len(body) if recorded is None else recorded
    record = Done(
        elapsed_ns=1,
        state=0,
        status=200,
        head_size=0,
        request_size=0,
        response_size=size,
        request_recorded=0,
        response_recorded=size,
        request_crc=0,
        response_crc=crc32c(body) if crc is None else crc,
    )
    recording.writer.append(FrameType.DONE, seq, record)
    recording.writer.flush()
    return seq


def test_bodies_in_one_frame_in_many_and_kept_in_part_agree_with_their_digests(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made, segment_bytes=3000)
    recording.exchange()
    recording.large("http://example.com/big", os.urandom(5000), piece=700)
    recording.done(recording.open(body=b"sent", method="POST"), b"answer", request=b"sent")
    recording.done(recording.open(), b"kept", size=1000)
    recording.open("http://example.com/running")
    recording.close()
    found = deep(made)
    assert (found.deep, found.bodies, found.disagreeing) == (True, 4, [])


def test_a_body_that_is_not_what_was_summed_is_named_though_every_frame_checks(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    wrong = [forged(recording, b"A" * 300, crc=1), forged(recording, b"A" * 300, recorded=400)]
    assert forged(recording, b"A" * 300) not in wrong
    recording.close()
    found = deep(made)
    assert (found.disagreeing, found.state, found.gaps) == (wrong, "damaged", [])
    with Session(made.path, made.session_id) as session:
        assert session.verify().state == "clean"
    done = wiretape("verify", "--deep", "--root", root)
    assert done.returncode == 1
    assert b"in exchanges 2 3" in done.stdout
    shown = json.loads(wiretape("verify", "--deep", "--json", "--root", root).stdout)
    assert (shown["deep"], shown["disagreeing"], shown["bodies"]) == (True, wrong, 4)
    assert b"compared" not in wiretape("verify", "--root", root).stdout


def test_frames_that_were_written_twice_are_compared_once(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    seq = recording.open()
    recording.head(seq)
    for position in (0, 0, 3, 2):
        recording.chunk(seq, position, b"abcdef"[position : position + 3])
    recording.done(seq, b"abcdef", inline=False)
    recording.close()
    assert deep(made).disagreeing == []


def test_what_damage_took_is_told_as_damage_and_not_once_more(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.large("http://example.com/big", b"A" * 100 + b"B" * 100 + b"C" * 100, piece=100)
    recording.close()
    flip_in(segment(made), b"B" * 100)
    found = deep(made)
    assert (found.disagreeing, [gap.exchanges for gap in found.gaps]) == ([], [[1]])


@pytest.mark.parametrize("profile", ["full", "preview"])
def test_what_a_real_recorder_writes_agrees_while_it_is_written_and_after(
    root: Path, http_origin: Origin, profile: str
) -> None:
    made = Catalogue(root).create()
    paths = ["/bytes/0", "/bytes/300", "/bytes/700000", "/chunked/5000?trailers=1", "/gzip/9000", "/until-close/70000"]
    with RecorderProcess(root) as recorder:
        recorder.record_to(made.session_id, made.path, profile=profile)
        for path in [*paths, "/short/500", "/early-hints", "/status/204"]:
            with RawClient.plain(recorder.address) as client:
                client.send(request_bytes("GET", http_origin.url(path), host=http_origin.authority))
                client.read_to_end() if path == "/short/500" else client.read_response()
        for size in (10, 400_000):
            with RawClient.plain(recorder.address) as client:
                body = os.urandom(size)
                client.request("POST", http_origin.url("/digest"), host=http_origin.authority, body=body)
        live = deep(made)
        assert recorder.stop() == 0
    after = deep(made)
    assert (live.state, live.disagreeing, after.state, after.disagreeing) == ("live", [], "clean", [])
    assert after.bodies == after.exchanges == 11
