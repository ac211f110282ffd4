"""The veil over whole answers: what stands after a name is hidden, what tells of places is not."""

from __future__ import annotations

from wiretape.secrets.known import Known
from wiretape.secrets.masking import Masking


def veil() -> Masking:
    return Masking(Known(b"k" * 32))


def test_p18_the_last_look_hides_what_is_known_in_whatever_encoding_and_knows_no_names() -> None:
    hidden = veil()
    hidden.header("Authorization", "Bearer Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6")
    told = {"rows": [["Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6", "WnE3azFMbTlYdzJSdDVZYjhOYzRWZDY="]], "token": "never met before"}
    shown = hidden.everything(told)
    assert all(value.startswith("{{token:") for value in shown["rows"][0])
    assert shown["token"] == "never met before"


def test_places_with_their_counts_are_shown_as_they_are() -> None:
    places = ["request.cookie.csrf_token x26", "response.cookie.csrf_token x1"]
    assert veil().everything({"values": [{"where": places}]}) == {"values": [{"where": places}]}


def test_an_id_of_one_of_our_sessions_is_nobodys_secret() -> None:
    assert veil().field("sessionId", "20261127T120000-0a1b2c") == "20261127T120000-0a1b2c"
