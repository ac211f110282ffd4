"""Sessions to ask about."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.clients import needs
from harness.origin import Origin
from tests.cli.support import wiretape


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one closed session, named ``made``: five exchanges, the last one failed."""
    root = tmp_path_factory.mktemp("recorded") / "root"
    with Origin() as origin:
        urls = [origin.url(path) for path in ("/text/500", "/bytes/3000", "/gzip/900", "/status/404")]
        script = "\n".join(f'"$0" -sS -o /dev/null "{url}"' for url in [*urls, "http://127.0.0.1:1/nobody"])
        done = wiretape("run", "--root", root, "--session", "made", "--", "sh", "-c", script, needs("curl"))
        assert done.returncode == 0, done.stderr
    return root
