"""The launcher's rules: what is started again, and what ends the service with which exit status."""

from __future__ import annotations

import signal

import pytest

from serving.config.exit_status import ExitStatus
from serving.processes.restarts import BACK_OFF_S, History, Restart, Stop


def test_each_start_that_fails_makes_the_next_one_wait_longer_up_to_a_bound() -> None:
    history = History(runs_model=True)
    delays = [history.after_death(1, ran=False) for _ in range(len(BACK_OFF_S) + 2)]
    assert delays == [Restart(s) for s in (*BACK_OFF_S, BACK_OFF_S[-1], BACK_OFF_S[-1])]


def test_what_ran_is_started_again_at_once() -> None:
    history = History(runs_model=True)
    for _ in range(4):
        history.after_death(1, ran=False)
    assert history.after_death(-signal.SIGKILL, ran=True) == Restart(0.0)
    assert history.after_death(1, ran=False) == Restart(BACK_OFF_S[1])


def test_a_start_that_the_system_has_no_room_for_counts_as_one_that_failed() -> None:
    history = History(runs_model=False)
    assert [history.put_off(), history.put_off()] == list(BACK_OFF_S[:2])
    assert not history.has_died
    assert history.after_death(1, ran=False) == Restart(BACK_OFF_S[2])
    assert history.has_died


def test_a_child_that_is_misconfigured_ends_the_service_with_its_status() -> None:
    assert History(runs_model=True).after_death(78, ran=False) == Stop(ExitStatus.MISCONFIGURED)


@pytest.mark.parametrize("status", [3, 4])
def test_workers_that_cannot_start_end_the_service(status: int) -> None:
    verdict = History(runs_model=False).after_death(status, ran=False)
    assert verdict == Stop(ExitStatus.FAULT, "the HTTP workers cannot start")


@pytest.mark.parametrize("status", [3, 4, 78, -signal.SIGSEGV])
def test_whatever_keeps_a_child_that_has_run_from_starting_may_pass(status: int) -> None:
    history = History(runs_model=True)
    history.after_death(-signal.SIGKILL, ran=True)
    assert [history.after_death(status, ran=False) for _ in range(3)] == [
        Restart(seconds) for seconds in BACK_OFF_S[1:4]
    ]


def test_a_model_that_crashes_three_starts_is_given_up() -> None:
    history = History(runs_model=True)
    for _ in range(2):
        assert isinstance(history.after_death(-signal.SIGSEGV, ran=False), Restart)
    assert history.after_death(-signal.SIGABRT, ran=False) == Stop(
        ExitStatus.MISCONFIGURED, "the model crashes the encoder (SIGABRT) whenever it is loaded"
    )


def test_a_kill_is_not_a_crash_of_the_model() -> None:
    history = History(runs_model=True)
    assert all(isinstance(history.after_death(-signal.SIGKILL, ran=False), Restart) for _ in range(9))


def test_the_http_sides_crashes_are_not_the_models() -> None:
    history = History(runs_model=False)
    assert all(isinstance(history.after_death(-signal.SIGSEGV, ran=False), Restart) for _ in range(9))
