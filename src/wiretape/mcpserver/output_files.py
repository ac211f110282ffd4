"""Where tools may write files: below ``<root>/exports``, the folder the client started us in, and ``--files`` (P14)."""

from __future__ import annotations

from pathlib import Path

from wiretape.new_file import EXPORTS, free_name, inside
from wiretape.private_files import private_folder
from wiretape.settings import McpSettings


def exports_folder(root: Path) -> Path:
    """Return the folder for what is carried away; it is made if there is none.

    Raises:
        StorageError: it cannot be made.
    """
    folder = root / EXPORTS
    private_folder(folder)
    return folder


def output_path(root: Path, settings: McpSettings, wanted: str | None, *, stem: str, suffix: str) -> Path:
    """Return where a tool is to write.

    Args:
        root: of the daemon.
        settings: what this client may do.
        wanted: the path that the model asks for, taken to be in the client's own folder if it is not absolute; None
            chooses a free name in ``<root>/exports``.
        stem: the name to choose.
        suffix: how it ends.

    Raises:
        UsageError: it may not write there. StorageError: the folder cannot be made.
    """
    exports = exports_folder(root)
    if wanted is None:
        return free_name(exports, stem, suffix)
    folders = [*settings.files, exports]
    return inside(Path(wanted), folders, folders[0])
