from __future__ import annotations

import time

from serving.errors import Code, ServiceError
from serving.front.turns import BodyBudget, Turns


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
