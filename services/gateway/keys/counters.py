"""What Redis counts of a subject, begun anew."""

from services.chassis import errors, redis, redis_keys

# By then every request of an erased user is settled, in seconds.
FORGOTTEN_S = 86400


async def reset_rates(client: redis.Redis, key_id: str) -> None:
    """Let a key begin the current minute anew; what it spent stays spent.

    Raises:
        Unavailable: Redis does not answer.
    """
    own = f"key:{key_id}"
    try:
        for key in await _found(client, redis_keys.rate(f"{own}*", ANY_PART)):
            # Not those of a key whose id only begins like this one.
            if key.endswith(own) or redis_keys.model_subject(key_id, "") in key:
                await client.delete(key)
    except redis.ERRORS as error:
        raise errors.Unavailable("limits cannot be reached at the moment", retry_after_s=1) from error


async def forget_spending(client: redis.Redis, subject: str) -> None:
    """Let the spends be read from PostgreSQL again, should the name be used again; what is in flight stays in balance.

    Raises:
        Unavailable: Redis does not answer.
    """
    try:
        for key in await _found(client, redis_keys.spent(subject, "*", ANY_PART)):
            await client.hdel(key, "ledger", "version")
            await client.expire(key, FORGOTTEN_S)
    except redis.ERRORS as error:
        raise errors.Unavailable("budgets cannot be reached at the moment", retry_after_s=1) from error


# Which partitions a subject is counted in depends on the organizations that its keys belonged to.
ANY_PART = f"{redis_keys.MONEY}*"


async def _found(client: redis.Redis, pattern: str) -> list[str]:
    """The keys at all servers that match a pattern."""
    return [
        redis.text(key)
        for server in await redis.servers(client)
        async for key in server.scan_iter(match=pattern, count=1000)
    ]
