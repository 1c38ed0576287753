"""Erasing a user over REST: what is made meanwhile goes, too."""

from types import SimpleNamespace
from typing import Any

import httpx

from services.chassis import redis
from services.gateway.cache.answer_key import AnswerKey, AnswerKeys, ConfigurationVersion
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.cache.store import AnswerStore, Kept
from services.gateway.keys.permissions import ADMIN
from services.gateway.rest import admin, application
from tests.gateway.cache.caches import NO_FILES, SECRET, storing
from tests.gateway.conftest import eventually


class Admins:
    """Takes everybody for an admin."""

    async def admin(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(key_id=ADMIN)


class AnsweringMeanwhile:
    """Personal data of a user whose key still works, and gets an answer, until the erasure is done."""

    def __init__(self, store: AnswerStore, key: AnswerKey) -> None:
        self._store = store
        self._key = key

    async def erase(self, actor: str, user_id: str) -> str:
        self._store.finish(self._key, "", Kept(b"answer", ttl_s=60, admitted_unix_ms=2**45))
        await eventually(self.is_cached)
        return "erased-1"

    async def is_cached(self) -> bool:
        looked = await self._store.look_up(self._key, "")
        return looked is not None and looked.text is not None


async def test_an_answer_that_is_cached_while_its_user_is_erased_does_not_stay(client: redis.Redis) -> None:
    async with storing(client) as store:
        keys = AnswerKeys(SECRET, ConfigurationVersion(NO_FILES))
        personal = AnsweringMeanwhile(store, AnswerKey("1" * 40, keys.tenant("user:ann")))
        unused: Any = None
        anyone: Any = Admins()
        data: Any = personal
        stores = admin.Stores(
            keys=unused,
            owners=unused,
            audit=unused,
            personal_data=data,
            cache=ResponseCache(store, keys, ttl_s=60, wait_s=1),
        )
        app = application.create([admin.router(anyone, stores, unused)])
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway",
            headers={"authorization": "Bearer x"},
        ) as http:
            answer = await http.delete("/admin/users/ann")

        assert {"user_id": "ann", "erased": True, "usage_kept_as": "erased-1"} == answer.json()
        assert not await personal.is_cached()
