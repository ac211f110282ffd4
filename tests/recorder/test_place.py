"""Whether a log is still where it is written to."""

from __future__ import annotations

import shutil
from pathlib import Path

from wiretape.recorder.place import Missing, Place


def test_what_is_deleted_moved_or_replaced_is_missed(tmp_path: Path) -> None:
    log = tmp_path / "session" / "log"
    log.mkdir(parents=True)
    with (log / "segment").open("wb") as segment:
        place = Place(log)
        assert place.look(segment.fileno()) is Missing.NOTHING
        assert place.look(-1) is Missing.NOTHING
        (log / "segment").unlink()
        assert place.look(segment.fileno()) is Missing.SEGMENT
        assert place.look(-1) is Missing.NOTHING
        log.rename(tmp_path / "elsewhere")
        assert place.look(segment.fileno()) is Missing.FOLDER
        log.mkdir()
        assert place.look(-1) is Missing.FOLDER
        log.rmdir()
        (tmp_path / "elsewhere").rename(log)
        assert place.look(-1) is Missing.NOTHING
        shutil.rmtree(tmp_path / "session")
        assert place.look(-1) is Missing.FOLDER
