"""No account, and no exchange that hangs, takes all threads of a pool."""

from __future__ import annotations

import asyncio

import pytest

from bitmm.xwrap.server.shares import KnownCallers, Place, SharedSlots, account_holder, exchange_holder

ANN, BOB, CID = ((account_holder(number),) for number in (1, 2, 3))


async def take(slots, holders, most):
    """Return how many slots these holders get at once, of at most so many."""
    for taken in range(most):
        task = asyncio.ensure_future(slots.acquire(holders))
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.sleep(0)
            return taken
    return most


@pytest.mark.parametrize(("size", "first", "second", "third"), [(256, 200, 40, 8), (32, 20, 4, 1), (16, 10, 2, 1)])
def test_an_account_leaves_a_fifth_and_more_and_others_share_what_is_left(size, first, second, third):
    async def scenario():
        slots = SharedSlots(size)
        return [await take(slots, holders, size) for holders in (ANN, BOB, CID)]

    taken = asyncio.run(scenario())
    assert taken == [first, second, third]


@pytest.mark.parametrize(("size", "hostile"), [(256, 10), (32, 9), (16, 5)])
def test_what_many_accounts_leave_of_a_pool_is_enough_for_one_more(size, hostile):
    async def scenario():
        slots = SharedSlots(size)
        taken = [await take(slots, (account_holder(3 + number),), size) for number in range(hostile)]
        return taken[-1], await take(slots, ANN, 1), await take(slots, BOB, 1)

    assert asyncio.run(scenario()) == (1, 1, 0)


def test_an_exchange_that_hangs_leaves_threads_to_the_others_whoever_asks_it():
    async def scenario():
        slots, kraken = SharedSlots(32), exchange_holder("kraken")
        hanging = sum([await take(slots, (account_holder(number), kraken), 8) for number in range(8)])
        return hanging, await take(slots, (account_holder(1), exchange_holder("paper")), 1)

    assert asyncio.run(scenario()) == (20, 1)


def test_of_those_that_wait_the_account_with_the_fewest_threads_goes_first_and_each_keeps_its_order():
    async def scenario():
        slots, went = SharedSlots(20), []
        others = [(account_holder(number),) for number in range(4, 9)]
        for holders in [ANN] * 12 + [BOB] * 3 + others:
            await slots.acquire(holders)

        async def wait(name, holders):
            await slots.acquire(holders)
            went.append(name)

        names = [("ann 1", ANN), ("ann 2", ANN), ("bob 1", BOB), ("cid 1", CID), ("bob 2", BOB)]
        waiting = [asyncio.ensure_future(wait(name, holders)) for name, holders in names]
        await asyncio.sleep(0)
        for holders in [*others, *[ANN] * 4]:
            slots.release(holders)
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        return went

    assert asyncio.run(scenario()) == ["cid 1", "bob 1", "bob 2"]


def test_who_gives_up_waiting_leaves_no_slot_behind():
    async def scenario():
        slots = SharedSlots(1)
        await slots.acquire(ANN)
        given_up = asyncio.ensure_future(slots.acquire(BOB))
        granted = asyncio.ensure_future(slots.acquire(CID))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        slots.release(ANN)
        granted.cancel()  # after the slot became its own
        await asyncio.sleep(0)
        return await take(slots, ANN, 1)

    assert asyncio.run(scenario()) == 1


def test_who_gave_up_in_the_moment_of_a_release_takes_nothing_and_the_next_one_does():
    """Its time was up, and its task has not run since."""

    async def scenario():
        slots = SharedSlots(1)
        await slots.acquire(ANN)
        given_up = asyncio.ensure_future(slots.acquire(BOB))
        granted = asyncio.ensure_future(slots.acquire(BOB))
        await asyncio.sleep(0)
        given_up.cancel()
        slots.release(ANN)
        await asyncio.wait_for(granted, 10)
        slots.release(BOB)
        await asyncio.sleep(0)
        return given_up.cancelled(), slots.free, await take(slots, ANN, 1)

    assert asyncio.run(scenario()) == (True, 1, 1)


@pytest.mark.parametrize("count", [5, 1000])
def test_a_release_costs_the_same_however_many_calls_of_an_account_wait(count, monkeypatch):
    looks = []
    may_have = SharedSlots._may_have
    monkeypatch.setattr(SharedSlots, "_may_have", lambda *given: (looks.append(given), may_have(*given))[1])

    async def scenario():
        slots = SharedSlots(16)
        hung = await take(slots, ANN, 16)
        waiting = [asyncio.ensure_future(slots.acquire(ANN)) for _ in range(count)]
        await asyncio.sleep(0)
        looks.clear()
        slots.release(ANN)
        cost = len(looks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return hung, cost

    assert asyncio.run(scenario()) == (10, 2)


def test_a_caller_is_known_by_the_digest_of_the_header_and_the_registration():
    callers = KnownCallers()
    callers.add(b"digest", 7, Place(1, "kraken"))
    assert callers.find(b"digest", 7) == Place(1, "kraken")
    assert callers.find(b"other", 7) is callers.find(b"digest", 8) is callers.find(None, 7) is None
