"""Write the pages that are made of the program: ``python -m tests.docs``. Read the difference afterwards."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from tests.cli.support import PREFORK
from tests.docs.cookbook import Kitchen, filled
from tests.docs.pages import COOKBOOK, PAGES, ROOT, SKILL, skill
from tests.jobs.live import Shop
from wiretape.cli.demo.certificates import OriginCA


def main() -> None:
    """Write all of them."""
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        ca = OriginCA(Path(folder) / "ca")
        with contextlib.closing(Shop(ca.issue().server_context())) as shop:
            text = filled(COOKBOOK.read_text(encoding="utf-8"), Kitchen(Path(folder), shop, ca))
    PREFORK.close()
    COOKBOOK.write_text(text, encoding="utf-8")
    (ROOT / "docs" / "cookbook.md").write_text(text, encoding="utf-8")
    SKILL.write_text(skill(text), encoding="utf-8")


if __name__ == "__main__":
    main()
