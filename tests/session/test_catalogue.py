"""Sessions of a root: ids and references (P14), listing, deleting."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from harness.logs import Recording, closed_session, new_session
from wiretape.errors import BusyError, NotFoundError, UsageError
from wiretape.log.store import fingerprint
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index, connect
from wiretape.session.manifest import Manifest, pretty, read_manifest


def test_a_new_session_is_readable_by_its_owner_alone(root: Path) -> None:
    made = Catalogue(root).create("mine", profile="preview", durability="os", max_disk=1000)
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", made.session_id)
    assert made.path == root / "sessions" / made.session_id
    for folder in (root, made.path.parent, made.path, made.log_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (summary,) = Catalogue(root).list()
    assert (summary.name, summary.profile, summary.durability, summary.exchanges) == ("mine", "preview", "os", 0)
    for file in made.path.rglob("*"):
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_lists_are_newest_first_also_within_a_second(root: Path) -> None:
    made = [new_session(root).session_id for _ in range(5)]
    assert Catalogue(root).ids() == made[::-1]
    assert [found.session_id for found in Catalogue(root).list()] == made[::-1]


def test_a_list_goes_on_after_any_session_also_within_a_second_and_when_it_was_deleted(root: Path) -> None:
    catalogue = Catalogue(root)
    made = [new_session(root).session_id for _ in range(8)][::-1]
    for place, session_id in enumerate(made):
        mark = catalogue.mark(session_id)
        assert [found.session_id for found in catalogue.list(mark)] == made[place + 1 :]
    mark = catalogue.mark(made[2])
    catalogue.delete(made[2])
    assert catalogue.ids(after=mark) == made[3:]
    for wrong in ("", made[0], f"{made[0]}.x", "../..", f"{made[0]}.{'9' * 40}"):
        with pytest.raises(UsageError, match="not a cursor"):
            catalogue.ids(after=wrong)


def test_a_root_that_does_not_exist_has_no_sessions(root: Path) -> None:
    assert Catalogue(root).list() == []
    with pytest.raises(NotFoundError):
        Catalogue(root).resolve("last")
    assert not root.exists()


def test_a_session_is_found_by_id_name_beginning_and_last(root: Path) -> None:
    catalogue = Catalogue(root)
    first, second = new_session(root, "first one"), new_session(root, "20")
    assert catalogue.resolve(first.session_id) == first.session_id
    assert catalogue.resolve("first one") == first.session_id
    assert catalogue.resolve(second.session_id[:-1]) == second.session_id
    assert catalogue.resolve("last") == second.session_id
    assert catalogue.resolve("20") == second.session_id


def test_an_ambiguous_reference_names_the_candidates(root: Path) -> None:
    made = [new_session(root, "same").session_id for _ in range(2)]
    for ref in ("same", made[0][:3]):
        with pytest.raises(UsageError) as refused:
            Catalogue(root).resolve(ref)
        assert all(session_id in refused.value.message for session_id in made)


@pytest.mark.parametrize(
    "ref", ["", ".", "..", "/", "../..", "a/b", "%2e%2e", "\0", "~", "*", "20*", "nowhere", "x" * 5000, "\udcff"]
)
def test_p14_a_reference_that_names_no_session_is_refused_and_touches_nothing(root: Path, ref: str) -> None:
    made = closed_session(root)
    for use in (Catalogue(root).resolve, Catalogue(root).open, Catalogue(root).delete, Catalogue(root).recover):
        with pytest.raises((NotFoundError, UsageError)):
            use(ref)
    assert made.path.is_dir()
    assert root.is_dir()


@pytest.mark.parametrize("name", ["", "   ", "last", "20260101T000000-abcdef", "a\nb", "x" * 200, "\x1b[31m", "\ud800"])
def test_a_name_that_would_mislead_is_refused(root: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Catalogue(root).create(name)


def test_p14_a_name_never_becomes_a_path(root: Path) -> None:
    made = Catalogue(root).create("../../etc/passwd")
    assert made.path.parent == root / "sessions"
    assert Catalogue(root).resolve("../../etc/passwd") == made.session_id


def test_p14_links_and_foreign_folders_are_no_sessions(root: Path, tmp_path: Path) -> None:
    made = closed_session(root)
    outside = tmp_path / "20200101T000000-000000"
    shutil.copytree(made.path, outside)
    (root / "sessions" / outside.name).symlink_to(outside)
    (root / "sessions" / "notes").mkdir()
    (root / "sessions" / "20200101T000000-00000G").mkdir()
    (root / "sessions" / "20200101T000000-000001").write_bytes(b"a file")
    assert Catalogue(root).ids() == [made.session_id]
    with pytest.raises(NotFoundError):
        Catalogue(root).delete(outside.name)
    assert outside.is_dir()


def test_a_folder_without_a_log_is_no_session(root: Path) -> None:
    (root / "sessions" / "20200101T000000-000000").mkdir(parents=True)
    with Catalogue(root).open("last") as session, pytest.raises(NotFoundError, match="no log folder"):
        session.query()
    assert Catalogue(root).list() == []


def test_deleting_removes_everything_of_one_session(root: Path) -> None:
    doomed, kept = closed_session(root), closed_session(root)
    assert Catalogue(root).delete(doomed.session_id) == doomed.session_id
    assert os.listdir(root / "sessions") == [kept.session_id]


def test_a_live_session_is_not_deleted_unless_forced(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    with pytest.raises(BusyError) as refused:
        Catalogue(root).delete("last")
    assert refused.value.pid == os.getpid()
    assert made.path.is_dir()
    Catalogue(root).delete("last", force=True)
    assert not made.path.exists()
    recording.kill()


def test_a_session_deleted_under_a_reader_is_a_clear_error(root: Path) -> None:
    closed_session(root, 5)
    with Catalogue(root).open("last") as session:
        details = session.iterate()
        assert next(details).seq == 1
        Catalogue(root).delete("last")
        for use in (session.query, session.summary, session.verify, session.recover, lambda: session.exchange(1)):
            with pytest.raises(NotFoundError):
                use()
        with pytest.raises(NotFoundError):
            list(details)


def test_a_deletion_that_was_killed_is_finished_later(root: Path) -> None:
    made = closed_session(root)
    half = made.path.with_name(f".deleted-{made.session_id}")
    made.path.rename(half)
    assert Catalogue(root).ids() == []
    Catalogue(root).recover_unclean()
    assert not half.exists()


def test_recover_unclean_recovers_what_was_left_and_nothing_twice(root: Path) -> None:
    closed_session(root)
    recording = Recording(new_session(root))
    recording.open()
    recording.kill()
    first = Catalogue(root).recover_unclean()
    assert [found.interrupted for found in first.recovered] == [1]
    assert Catalogue(root).recover_unclean().recovered == []


# -- many sessions ----------------------------------------------------------------------------------------------------


def many_sessions(root: Path, count: int) -> list[str]:
    """Make sessions without waiting for the disk; return their ids, newest first."""
    folder = root / "sessions"
    made = [(number // 3600, number // 60 % 60, number % 60, number) for number in range(count)]
    ids = ["202601{:02d}T{:02d}{:02d}00-{:06x}".format(day + 1, *rest) for day, *rest in made]
    for number, session_id in enumerate(ids):
        (folder / session_id / "log").mkdir(parents=True)
        manifest = Manifest(session_id=session_id, name=f"name {number}", created_ns=number, log=fingerprint([]))
        (folder / session_id / "manifest.json").write_bytes(pretty(manifest))
    return sorted(ids, reverse=True)


@pytest.fixture
def manifests_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions whose manifests were read."""
    read: list[str] = []

    def noted(folder: Path, session_id: str) -> Manifest | None:
        read.append(session_id)
        return read_manifest(folder, session_id)

    for module in ("roll", "catalogue", "session", "recovery.on_open"):
        monkeypatch.setattr(f"wiretape.session.{module}.read_manifest", noted)
    return read


def test_a_look_up_reads_one_manifest_and_not_all(root: Path, manifests_read: list[str]) -> None:
    ids = many_sessions(root, 500)
    assert Catalogue(root).ids() == ids
    manifests_read.clear()
    assert Catalogue(root).resolve("name 77") == ids[499 - 77]
    assert Catalogue(root).resolve("last") == ids[0]
    assert Catalogue(root).resolve(ids[3]) == ids[3]
    assert manifests_read == [ids[499 - 77]]
    with pytest.raises(NotFoundError):
        Catalogue(root).resolve("no such name")
    assert len(manifests_read) == 1


def test_a_page_of_many_sessions_costs_a_page_and_makes_no_index(root: Path, manifests_read: list[str]) -> None:
    ids = many_sessions(root, 500)
    Catalogue(root).ids()
    manifests_read.clear()
    page = Catalogue(root).list(limit=50)
    assert [found.session_id for found in page] == ids[:50]
    assert sorted(set(manifests_read), reverse=True) == ids[:50]
    assert len(manifests_read) <= 100
    more = Catalogue(root).list(Catalogue(root).mark(page[-1].session_id), 50)
    assert [found.session_id for found in more] == ids[50:100]
    assert not list(root.rglob("index.sqlite"))


def test_the_roll_can_be_deleted_damaged_or_wrong_and_nothing_is_lost(root: Path) -> None:
    ids = many_sessions(root, 20)
    roll = root / ".roll.json"
    for content in (None, b"", b"[]", b'{"sessions": {}}', b"\xff" * 100):
        if content is None:
            roll.unlink(missing_ok=True)
        else:
            roll.write_bytes(content)
        assert Catalogue(root).ids() == ids
        assert Catalogue(root).resolve("name 7") == ids[12]
    (root / "sessions" / ids[12] / "manifest.json").unlink()
    with pytest.raises(NotFoundError):
        Catalogue(root).resolve("name 7")


def test_last_is_what_was_made_last_also_when_the_clock_was_set_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as clock:
        clock.setattr("wiretape.session.catalogue.new_session_id", lambda: "20991231T235959-abcdef")
        future = closed_session(root).session_id
    now, catalogue = closed_session(root).session_id, Catalogue(root)
    assert catalogue.resolve("last") == now
    assert catalogue.ids() == [now, future]
    assert [found.session_id for found in catalogue.list(catalogue.mark(now))] == [future]
    catalogue.delete(now)
    assert catalogue.resolve("last") == future


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_session_that_is_only_listed_gets_no_index_and_is_described_as_after_a_question(root: Path, how: str) -> None:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange()
    recording.open()
    recording.close() if how == "closed" else recording.kill(torn=b"\x89WT")
    (listed,) = Catalogue(root).list()
    assert not (made.path / "index.sqlite").exists()
    with Catalogue(root).open("last") as session:
        assert session.query().matched == 2
        assert msgspec.structs.replace(session.summary(), errors=UNSET) == listed
    assert listed.recovery_state == "recovered"


def test_a_long_log_is_not_read_for_a_line_of_a_list_and_the_line_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.session.session._READ_FOR_A_LIST", 100)
    recording = Recording(new_session(root))
    recording.exchange()
    recording.kill()
    (listed,) = Catalogue(root).list()
    assert "has not been read yet" in (listed.note or "")
    assert Catalogue(root).recover_unclean().recovered[0].exchanges == 1
    (listed,) = Catalogue(root).list()
    assert (listed.note, listed.exchanges) == (None, 1)


def test_indexes_of_an_older_version_are_made_again_when_nobody_waits_for_them(root: Path) -> None:
    made = closed_session(root, 20)
    with Catalogue(root).open("last") as session:
        session.query()
    old = connect(made.path / "index.sqlite")
    old.execute("PRAGMA user_version = 3")
    old.close()
    Catalogue(root).recover_unclean()
    index = Index(made.path, made.session_id)
    assert not index.outdated()
    assert index.at_end()
    index.close()
