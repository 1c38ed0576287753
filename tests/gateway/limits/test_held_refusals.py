import asyncio

from services.gateway.limits.held_refusals import HeldRefusals


async def begun(held: HeldRefusals) -> "asyncio.Task[None]":
    task = asyncio.create_task(held.hold())
    await asyncio.sleep(0)
    return task


async def test_as_many_are_held_as_may_be_and_the_others_not_at_all() -> None:
    held = HeldRefusals(2, 3600)
    first, second = [await begun(held) for _ in range(2)]

    third = await begun(held)

    assert [False, False, True] == [task.done() for task in (first, second, third)]
    first.cancel()
    await asyncio.wait([first])
    fourth = await begun(held)
    assert not fourth.done()
    for task in (second, fourth):
        task.cancel()
    await asyncio.wait([second, fourth])


async def test_it_ends_and_makes_room() -> None:
    held = HeldRefusals(1, 0.001)

    for _ in range(2):
        task = await begun(held)
        assert not task.done()
        async with asyncio.timeout(60):
            await task
