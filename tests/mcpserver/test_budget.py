"""Answers that fit, and that say what they leave out."""

from __future__ import annotations

import asyncio

import pytest

from wiretape.mcpserver.budget import BUDGET, exchange_within, size_of
from wiretape.model import ExchangeDetail, Message, Timings

ID = "20260101T000000-00000a"


def exchange(most: int, *, body: str, header: str = "", headers: int = 1) -> ExchangeDetail:
    side = Message(
        http_version="HTTP/1.1",
        headers=[("X", header)] * headers,
        body_size=len(body),
        body_recorded=len(body),
        body=body[:most] or None,
        body_truncated=len(body) > most,
    )
    return ExchangeDetail(
        seq=7,
        exchange_id=f"{ID}.7",
        state="complete",
        timestamp=0,
        request=side,
        response=side,
        timings=Timings(),
        tls=None,
        client=None,
        server=None,
    )


@pytest.mark.parametrize(
    ("body", "header", "headers"),
    [
        ("x" * 10**6, "", 1),
        ("\x00" * 10**6, "", 1),
        ("é" * 10**5, "y" * 1000, 3),
        ("x", "y" * 60_000, 2),
        ("x", "y", 20_000),
    ],
)
def test_p11_an_exchange_fits_and_says_how_to_get_it_whole(body: str, header: str, headers: int) -> None:
    async def fetch(most: int) -> ExchangeDetail:
        return exchange(most, body=body, header=header, headers=headers)

    found = asyncio.run(exchange_within(fetch, bodies=True))
    assert size_of(found) <= BUDGET + 1_000
    assert any("`wiretape exchange" in note for note in found.notes)


def test_an_exchange_without_its_bodies_was_not_cut() -> None:
    async def fetch(most: int) -> ExchangeDetail:
        assert most == 0
        return exchange(0, body="")

    assert asyncio.run(exchange_within(fetch, bodies=False)).notes == []
