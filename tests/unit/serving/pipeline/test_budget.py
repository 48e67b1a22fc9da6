from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Code, ServiceError
from serving.pipeline.budget import ByteBudget
from tests.support.service import wait_until


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
        budget.take(80, time.monotonic() + 30)
        order.append("large")
        budget.give_back(80)

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
