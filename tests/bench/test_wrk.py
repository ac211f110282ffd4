"""What wrk says of itself, as a result like any other."""

from __future__ import annotations

from bench.load import wrk

_SUMMARY = {
    "answered": 1000, "microseconds": 2_000_000, "bytes": 5, "p50": 100, "p99": 2500,
    "status": 10, "connect": 0, "read": 3, "write": 0, "timeout": 0,
}  # fmt: skip


def test_error_answers_are_errors_and_what_was_in_flight_is_unfinished() -> None:
    result = wrk.result(_SUMMARY, 20, {"0": 0.5})
    assert result.answered == 990
    assert result.per_second == 495
    assert result.errors == {"wrk: status": 10, "wrk: read": 3}
    assert result.unfinished == 20
    assert (result.p50_ms, result.p99_ms) == (0.1, 2.5)
