"""The parts of the proof, in the order in which they run; nothing registers itself."""

from __future__ import annotations

from prove import big_session, damage, fuzz, kills, live, mixing, parity, power_cuts, real_faults, streams, syscalls
from prove.part import Part

PARTS = (
    Part(
        "kills", "SIGKILL of recorder, daemon or both under real traffic: every answered exchange is found", kills.run
    ),
    Part(
        "streams",
        "WebSockets and event streams through a recorder that is killed: what either side has received is recorded",
        streams.run,
    ),
    Part(
        "big_session",
        "A session of 20 GB is asked, checked and recovered in bounded time and memory after its recorder was killed",
        big_session.run,
    ),
    Part(
        "power_cuts", "simulated power cuts and kills at every call of a recorder that changes the disk", power_cuts.run
    ),
    Part("damage", "Every bit flipped, every length cut to, every page ruined costs what it touches alone", damage.run),
    Part("parity", "A segment with parity, damaged: healed byte for byte within the bound, refused beyond", parity.run),
    Part("fuzz", "Logs changed blindly, and with right checksums, read in every way there is", fuzz.run),
    Part("syscalls", "SIGKILL at every call to the kernel of a recording, a recovery and an opening", syscalls.run),
    Part(
        "real_faults",
        "Full disks, files that may not grow, no descriptors left, calls that fail: what is dropped is counted exactly",
        real_faults.run,
    ),
    Part("live", "Logs that are checked while they are written at full speed; second writers are refused", live.run),
    Part(
        "mixing",
        "Early answers, uploads given up, users that log in: no byte of one exchange on another's, every record true",
        mixing.run,
    ),
)
