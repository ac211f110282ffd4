"""Answers that fit, and that say what they leave out."""

from __future__ import annotations

import asyncio

import pytest

from wiretape.mcpserver.budget import BUDGET, exchange_within, page_within, size_of
from wiretape.model import Coverage, ExchangeDetail, ExchangeSummary, Message, QueryPage, Timings

ID = "20260101T000000-00000a"


def page(limit: int, *, there: int, url: str) -> QueryPage:
    items = [
        ExchangeSummary(
            seq=seq,
            exchange_id=f"{ID}.{seq}",
            timestamp=0,
            method="GET",
            url=url,
            status_code=200,
            state="complete",
            duration=1.0,
            request_body_size=0,
            response_body_size=0,
            response_content_type=None,
        )
        for seq in range(there, max(there - limit, 0), -1)
    ]
    return QueryPage(
        matched=there,
        returned=len(items),
        items=items,
        next_cursor="more" if limit < there else None,
        coverage=Coverage(through_seq=there, in_flight=0, dropped=0, damaged=0),
    )


@pytest.mark.parametrize(
    ("limit", "there", "url"),
    [
        (1000, 5000, "http://a/"),
        (50, 50, "http://a/" + "x" * 900),
        (50, 60, "http://a/" + "é" * 5000),
        (1, 9, "x" * 10**6),
    ],
)
def test_p11_a_page_fits_goes_on_where_it_was_cut_and_says_so(limit: int, there: int, url: str) -> None:
    async def fetch(most: int) -> QueryPage:
        return page(most, there=there, url=url)

    found = asyncio.run(page_within(fetch, limit))
    assert size_of(found) <= BUDGET
    assert found.returned == len(found.items) >= 1
    assert found.matched == there
    if found.returned < min(limit, there):
        assert found.next_cursor
        assert any(f"{found.returned} of the {limit}" in note for note in found.coverage.notes)
    assert any("URLs" in note for note in found.coverage.notes) == (len(url) > 1000)


def test_a_page_that_fits_is_left_as_it_is() -> None:
    async def fetch(most: int) -> QueryPage:
        return page(most, there=3, url="http://a/")

    assert asyncio.run(page_within(fetch, 50)) == page(50, there=3, url="http://a/")


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
