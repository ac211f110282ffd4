"""The public side of the CA, read without the library that signs."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wiretape.errors import StorageError
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.ca_certificate import load_or_create


def test_it_makes_the_authority_once_and_says_of_it_what_the_authority_says(root: Path) -> None:
    first = load_or_create(root)
    assert load_or_create(root) == first
    authority = CertificateAuthority.load(root)
    assert first.cert_path == authority.cert_path
    assert first.cert_pem == authority.cert_pem
    assert first.fingerprint_sha256 == authority.fingerprint_sha256


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_a_broken_authority_is_refused_with_its_own_words(root: Path, name: str) -> None:
    load_or_create(root)
    (root / "ca" / name).write_text("broken")
    with pytest.raises(StorageError, match=name):
        load_or_create(root)


def test_a_key_of_another_authority_is_refused(root: Path, tmp_path: Path) -> None:
    load_or_create(root)
    load_or_create(tmp_path / "other")
    (root / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca" / "ca.key").read_bytes())
    with pytest.raises(StorageError, match=r"ca\.(key|pem)"):
        load_or_create(root)


def test_p14_a_key_that_others_can_read_is_closed_to_them(root: Path) -> None:
    load_or_create(root)
    key = root / "ca" / "ca.key"
    key.chmod(0o644)
    load_or_create(root)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_library_that_signs_is_not_imported_for_it(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from wiretape.tls.ca_certificate import load_or_create;"
        "load_or_create(Path(sys.argv[1])); load_or_create(Path(sys.argv[1])); sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(root)], check=False).returncode == 0
