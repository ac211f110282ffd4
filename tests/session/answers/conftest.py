"""A recorded walk through a shop that is still there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.session.answers.shop import State, running, walk
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session


@dataclass
class Walked:
    """The shop, and the session of a walk through it."""

    base: str
    state: State
    root: Path
    session: Session


@pytest.fixture(scope="package")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """A walk: login, products, a picture, a cart, an item, something raw, and a failure."""
    root = tmp_path_factory.mktemp("walked") / "root"
    with running() as (base, state):
        recording = Recording(new_session(root))
        walk(base, recording)
        recording.close()
        with Catalogue(root).open("last") as session:
            yield Walked(base, state, root, session)
