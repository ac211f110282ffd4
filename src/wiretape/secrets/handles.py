"""Handles: what stands for a secret, the same in every answer about one root."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Final

from wiretape.private_files import exclusive, private_folder, read_private, replace_file

HANDLE: Final = re.compile(r"\{\{([a-z][a-z0-9-]*):([0-9a-f]{6,64})\}\}")
KEY_FILE: Final = "secrets.key"
_KEY_BYTES: Final = 32
DIGITS: Final = 6
"""Hexadecimal digits of a handle; a value gets more where another one has these already."""


def root_key(root: Path) -> bytes:
    """Return the key of a root's handles, made at first; without it nobody can guess a value from its handle.

    Raises:
        StorageError: it can be neither read nor written.
    """
    path = root / KEY_FILE
    key = read_private(path, _KEY_BYTES + 1)
    if key is not None and len(key) == _KEY_BYTES:
        return key
    private_folder(root)
    with exclusive(root):
        key = read_private(path, _KEY_BYTES + 1)
        if key is None or len(key) != _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            replace_file(path, key)
    return key


def digest(key: bytes, value: str) -> str:
    """Return the digits from which a value's handle is made."""
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def handle(kind: str, digits: str) -> str:
    """Write a handle."""
    return f"{{{{{kind}:{digits}}}}}"
