"""Fixtures for every test: isolation from the machine, loopback origins, certificates, folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.origin import Origin
from tests.cli.support import PREFORK
from wiretape.cli.demo.certificates import OriginCA

OUTSIDE_VARIABLES = (
    *("PROXY", "SSL_CERT", "CA_BUNDLE", "CACERT", "CA_CERTS", "SSL_CAINFO", "SSLKEYLOGFILE"),
    *("WIRETAPE_", "CURL_", "OPENSSL_CONF"),
)
"""A variable whose name contains one of these, in any case, changes what clients and the program under test do."""


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the machine's proxy, CA, HOME and configuration settings out of the tests' way."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if any(part in name.upper() for part in OUTSIDE_VARIABLES):
                patch.delenv(name)
        # Some images set it; each of the processes that tests start then compiles what it imports: 1 s of CPU a daemon.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("HOME", str(home))
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_TERMINAL_PROMPT", "0")
        patch.setenv("LC_ALL", "C.UTF-8")
        yield
    PREFORK.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A wiretape root of the test's own; the folder does not exist yet."""
    return tmp_path / "root"


@pytest.fixture(scope="session")
def origin_ca(tmp_path_factory: pytest.TempPathFactory) -> OriginCA:
    """The authority that signs the HTTPS origins' certificates; ``origin_ca.pem`` is its file."""
    return OriginCA(tmp_path_factory.mktemp("origin-ca"))


@pytest.fixture
def http_origin() -> Iterator[Origin]:
    """An HTTP origin of the test's own."""
    with Origin() as origin:
        yield origin


@pytest.fixture
def https_origin(origin_ca: OriginCA) -> Iterator[Origin]:
    """An HTTPS origin of the test's own, for localhost, 127.0.0.1 and ::1."""
    with Origin(tls=origin_ca.issue().server_context()) as origin:
        yield origin
