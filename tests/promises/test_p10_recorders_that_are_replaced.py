"""P10: a recorder that is killed while its disk is full is replaced, and traffic goes on."""

from __future__ import annotations

from pathlib import Path

from harness.logs import Recording, new_session
from prove.faulty_round import FullDisk, Round, Traffic, read_account, small_disk
from prove.one_round import open_stage
from wiretape.cli.demo.stage import Daemon, kill
from wiretape.cli.demo.waiting import wait_until
from wiretape.daemon.client import request
from wiretape.log.reserve import reserve_path
from wiretape.session.recovery.recover import recover_session


def test_p10_a_successor_begins_on_a_full_disk_and_records_when_there_is_room(tmp_path: Path) -> None:
    fault = FullDisk()
    with open_stage(tmp_path) as stage, small_disk(tmp_path / "disk", "16m") as disk:
        root = (disk or tmp_path) / "root"
        options = ("--session", "full", "--upstream-ca", str(stage.authority))
        daemon = Daemon(root, *options, messages=tmp_path / "daemon.log")
        traffic = Traffic(daemon, stage.ports["http"], "replaced")
        try:
            traffic.run(5)
            if disk is not None:  # where nobody may mount, it is replaced on a healthy disk
                fault.begin(root, 0)
            for pid in daemon.recorder_pids:
                kill(pid)
            wait_until(lambda: request(root, {"cmd": "status"})["recorderRestarts"], what="the successor")
            traffic.run(10)
            assert len(traffic.seen.answered) == 15
            fault.end()

            def recorded() -> bool:
                before = request(root, {"cmd": "status"})["dropped"]
                traffic.run(1)
                return bool(request(root, {"cmd": "status"})["dropped"] == before)

            wait_until(recorded, what="recording to go on")
            dropped = request(root, {"cmd": "status"})["dropped"]
            assert daemon.stop()[0] == 0
        finally:
            fault.end()
            traffic.close()
            daemon.close()
        how = Round(name="full", root=root, fault=fault)
        account = read_account(how, traffic.seen, str(daemon.ready["sessionId"]))
    assert account["wrong"] == []
    assert set(account["dropped"].values()) == {dropped}
    assert len(traffic.seen.answered) == len(account["whole"]) + dropped


def test_p10_recovery_gives_back_what_a_killed_recorder_had_reserved(tmp_path: Path) -> None:
    made = new_session(tmp_path)
    recording = Recording(made)
    recording.exchange("http://example.com/")
    recording.kill()
    reserve = reserve_path(made.log_dir, 0)
    reserve.touch()
    recover_session(made.path, made.session_id, dry_run=True)
    assert reserve.exists()
    recover_session(made.path, made.session_id)
    assert not reserve.exists()
