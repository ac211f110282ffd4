"""The veil over whole answers: what stands after a name is hidden, what tells of places is not."""

from __future__ import annotations

from wiretape.secrets.known import Known
from wiretape.secrets.masking import Masking


def veil() -> Masking:
    return Masking(Known(b"k" * 32))


def test_p18_a_row_of_a_name_and_its_values_shows_handles() -> None:
    shown = veil().everything({"request": [["request.header.X-Csrf-Token", "abcdef0123456789", "9876543210fedcba"]]})
    assert shown["request"][0][0] == "request.header.X-Csrf-Token"
    assert all(value.startswith("{{csrf:") for value in shown["request"][0][1:])


def test_places_with_their_counts_are_shown_as_they_are() -> None:
    places = ["request.cookie.csrf_token x26", "response.cookie.csrf_token x1"]
    assert veil().everything({"values": [{"where": places}]}) == {"values": [{"where": places}]}
