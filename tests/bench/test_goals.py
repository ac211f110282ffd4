"""The goals: figures of one round against figures of the same round, medians over all, and what has to be measured."""

from __future__ import annotations

import pytest

from bench.__main__ import PEERS
from bench.goals import GOALS, Goal, Outcome, needed, outcomes
from bench.measure import STEPS
from bench.workloads import WORKLOADS


def _outcome(title: str, rounds: list[dict[tuple[str, str, str], float]]) -> Outcome:
    return {outcome.goal.title: outcome for outcome in outcomes(rounds)}[title]


def _http(**figures: float) -> dict[tuple[str, str, str], float]:
    return {(peer.replace("_", "-"), "http", ""): value for peer, value in figures.items()}


def test_a_ratio_is_made_within_a_round_and_only_then_the_median_is_taken() -> None:
    rounds = [_http(wiretape=100, nginx=200), _http(wiretape=300, nginx=1000), _http(wiretape=10, nginx=100)]
    outcome = _outcome("HTTP, small GETs, of nginx", rounds)
    assert (outcome.now.median, outcome.now.low, outcome.now.high) == (30, 10, 50)
    assert outcome.reached is False


def test_the_other_checkout_is_held_against_its_own_figures() -> None:
    rounds = [_http(wiretape=90, wiretape_no_record=100, before=80, before_no_record=160)]
    outcome = _outcome("HTTP, cost of recording small GETs", rounds)
    assert outcome.now.median == pytest.approx(10)
    assert outcome.before is not None
    assert outcome.before.median == pytest.approx(50)
    assert outcome.reached is True


@pytest.mark.parametrize(("before", "reached"), [(None, None), (99.0, True), (101.0, False)])
def test_what_must_not_be_less_than_before_is_judged_only_where_before_was_measured(
    before: float | None, reached: bool | None
) -> None:
    figures = _http(wiretape=100) if before is None else _http(wiretape=100, before=before)
    assert _outcome("HTTP, small GETs", [figures]).reached is reached


def test_latency_is_what_the_proxy_adds_to_none_at_all() -> None:
    row = ("latency-http", "p99")
    rounds = [{("wiretape", *row): 0.9, ("wiretape-no-record", *row): 0.5, ("direct", *row): 0.4}]
    assert _outcome("HTTP, latency added at 200/s, p99", rounds).now.median == pytest.approx(0.5)
    quiet = _outcome("HTTP, the same, not recording", rounds)
    assert quiet.now.median == pytest.approx(0.1)
    assert quiet.reached is None


def test_a_round_in_which_one_side_is_missing_counts_for_nothing() -> None:
    rounds = [_http(wiretape=100, nginx=200), _http(wiretape=100)]
    assert _outcome("HTTP, small GETs, of nginx", rounds).now.low == 50
    assert "HTTP, small GETs, of mockttp" not in {outcome.goal.title for outcome in outcomes(rounds)}


def test_all_that_the_goals_take_is_there_to_be_measured() -> None:
    figures = {(w.key, figure) for w in WORKLOADS for figure in w.figures}
    figures |= {("memory", "idle"), ("memory", "mcp"), ("download", "rate"), ("download", "above")}
    assert {(goal.step, goal.figure) for goal in GOALS} <= figures
    peers = {peer.key for peer in PEERS}
    assert {step for step, _ in needed()} <= {step.key for step in STEPS}
    assert {peer for _, peer in needed()} <= peers | {"before", "before-no-record"}
    assert ("http", "before-no-record") in needed()
    assert ("memory", "mitmproxy") not in needed()


def test_a_goal_says_its_bound_in_words() -> None:
    assert Goal("a", "%", "http", at_least=50).bound == "at least 50"
    assert Goal("a", "ms", "http", at_most=0.6).bound == "at most 0.6"
    assert Goal("a", "/s", "http", not_less=True).bound == "not less than before"
    assert Goal("a", "/s", "http").bound == ""
