"""Records on their way: what is counted when a destination fails in a way that nobody foresaw."""

from collections.abc import Sequence

from services.gateway.recording.delivery import DROPPED, Delivery
from services.gateway.recording.record import Record


def record(ident: str) -> Record:
    return Record({"request_id": ident, "model": "m"}, b"{}", stream=False)


async def test_a_batch_that_fails_unforeseen_is_counted_and_leaves_its_room_to_others() -> None:
    sent: list[str] = []

    async def send(batch: Sequence[Record]) -> bool:
        if batch[0].about["request_id"] == "bad":
            raise RuntimeError("unforeseen")
        sent.extend(one.about["request_id"] for one in batch)
        return True

    before = DROPPED.labels("database")._value.get()
    delivery = Delivery("database", send, batch=1)
    async with delivery.delivering():
        delivery.add(record("bad"))
        delivery.add(record("good"))

    assert ["good"] == sent
    assert (1, 0) == (DROPPED.labels("database")._value.get() - before, delivery._waiting)
