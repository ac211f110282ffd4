"""The page about reliability shows the figures of the account beside it, and that one was complete and held."""

from __future__ import annotations

import json

from prove.document import ACCOUNT, PAGE, filled
from prove.parts import PARTS


def test_the_page_shows_what_the_account_says() -> None:
    page = PAGE.read_text()
    assert filled(page, json.loads(ACCOUNT.read_text())) == page


def test_every_part_of_the_proof_is_on_the_page_and_held() -> None:
    page, account = PAGE.read_text(), json.loads(ACCOUNT.read_text())
    for part in PARTS:
        assert f"<!-- figures: {part.name} -->" in page
        assert account["parts"][part.name]["holds"]
        assert account["effort"] == 1
