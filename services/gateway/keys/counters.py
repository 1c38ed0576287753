"""What Redis counts of a subject, begun anew."""

from services.chassis import errors, redis, redis_keys

# By then every request of an erased user is settled, in seconds.
FORGOTTEN_S = 86400


async def reset_rates(client: redis.Redis, key_id: str) -> None:
    """Let a key begin the current minute anew; what it spent stays spent.

    Raises:
        Unavailable: Redis does not answer.
    """
    key = redis_keys.rate(f"key:{key_id}")
    models = redis_keys.rate(redis_keys.model_subject(key_id, "*"))
    try:
        counted = [one async for one in client.scan_iter(match=models, count=1000)]
        await client.delete(key, *counted)
    except redis.ERRORS as error:
        raise errors.Unavailable("limits cannot be reached at the moment", retry_after_s=1) from error


async def forget_spending(client: redis.Redis, subject: str) -> None:
    """Let the spends be read from PostgreSQL again, should the name be used again; what is in flight stays in balance.

    Raises:
        Unavailable: Redis does not answer.
    """
    try:
        async for key in client.scan_iter(match=redis_keys.spent(subject, "*"), count=1000):
            await client.hdel(key, "ledger", "version")
            await client.expire(key, FORGOTTEN_S)
    except redis.ERRORS as error:
        raise errors.Unavailable("budgets cannot be reached at the moment", retry_after_s=1) from error
