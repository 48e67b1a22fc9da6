from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Code, ServiceError
from serving.front.turns import BodyBudget, ByteBudget, Turns
from tests.support.service import wait_until


class Asker:
    """Asks for turns and notes who got one and who was refused."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.began: list[str] = []
        self.refused: dict[str, ServiceError] = {}

    def ask(self, name: str) -> None:
        self._turns.ask(lambda: self.began.append(name), lambda error: self.refused.update({name: error}))


def test_turns_are_limited_and_come_back() -> None:
    turns = Turns(running=2, waiting=0, timeout_s=30)
    asker = Asker(turns)
    for name in "abc":
        asker.ask(name)
    assert asker.began == ["a", "b"]
    assert asker.refused["c"].code is Code.SERVICE_UNAVAILABLE_ERROR
    assert asker.refused["c"].retry_after_s
    turns.give_back()
    asker.ask("d")
    assert asker.began == ["a", "b", "d"]


def test_who_waits_gets_a_turn_in_order_and_the_next_is_refused_at_once() -> None:
    turns = Turns(running=1, waiting=2, timeout_s=30)
    asker = Asker(turns)
    for name in "abcd":
        asker.ask(name)
    assert asker.began == ["a"]
    assert list(asker.refused) == ["d"]
    turns.give_back()
    turns.give_back()
    assert asker.began == ["a", "b", "c"]
    turns.give_back()
    asker.ask("e")
    assert asker.began[-1] == "e"


def test_who_has_waited_too_long_is_refused_and_its_turn_is_not_lost() -> None:
    turns = Turns(running=1, waiting=2, timeout_s=30)
    asker = Asker(turns)
    for name in "ab":
        asker.ask(name)
    turns.expire(time.monotonic())
    assert not asker.refused
    turns.expire(time.monotonic() + 31)
    assert list(asker.refused) == ["b"]
    turns.give_back()
    asker.ask("c")
    assert asker.began == ["a", "c"]


def test_bodies_are_counted_while_they_are_held() -> None:
    budget = BodyBudget(10 << 20)
    old, young = object(), object()
    budget.hold(old, 6 << 20)
    budget.hold(young, 3 << 20)
    assert budget.has_room(young)
    budget.hold(young, 5 << 20)
    assert not budget.has_room(young)
    assert budget.has_room(old), "the oldest may always go on"
    small = object()
    budget.hold(small, 1 << 20)
    assert budget.has_room(small), "small ones have a reserve"
    budget.complete(old)
    assert budget.has_room(young), "it is the oldest that arrives, now"
    assert budget.used == 12 << 20
    for owner in (old, young, small, object()):
        budget.release(owner)
    assert budget.used == 0


def test_small_amounts_are_always_granted() -> None:
    budget = ByteBudget(100, free_below=10)
    assert budget.try_take(100)
    assert budget.try_take(9)
    assert not budget.try_take(10)
    budget.give_back(100)
    assert budget.try_take(10)


def test_more_than_all_is_all() -> None:
    budget = ByteBudget(100, free_below=1)
    assert budget.try_take(1000)
    assert not budget.try_take(1)
    budget.give_back(1000)
    assert budget.try_take(100)


def test_nobody_overtakes_who_waits() -> None:
    budget = ByteBudget(100, free_below=1)
    assert budget.try_take(60)
    order: list[str] = []

    def large() -> None:
        with budget.holding(80, time.monotonic() + 30):
            order.append("large")

    thread = threading.Thread(target=large)
    thread.start()
    wait_until(lambda: bool(budget._queue), "the waiter")
    assert not budget.try_take(10)
    budget.give_back(60)
    thread.join(10)
    assert order == ["large"]
    assert budget.try_take(100)


def test_a_deadline_ends_the_wait_and_the_queue_moves_on() -> None:
    budget = ByteBudget(100, free_below=1)
    assert budget.try_take(100)
    with pytest.raises(ServiceError) as caught:
        budget.take(50, time.monotonic())
    assert caught.value.code is Code.SERVICE_UNAVAILABLE_ERROR
    budget.give_back(100)
    assert budget.try_take(100)


@given(st.lists(st.integers(1, 200), max_size=30))
def test_the_budget_is_whole_again_when_all_is_given_back(amounts: list[int]) -> None:
    budget = ByteBudget(100, free_below=5)
    taken = [amount for amount in amounts if budget.try_take(amount)]
    for amount in taken:
        budget.give_back(amount)
    assert budget.try_take(100)
