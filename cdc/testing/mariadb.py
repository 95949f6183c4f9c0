"""A real MariaDB server for tests, from the programs that Debian's package `mariadb-server` installs. Starts processes.

It is no service of the machine: its data, its socket and its port are its own, as for all servers of
`cdc.testing.servers`.
"""

from __future__ import annotations

import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from cdc.testing.process import Server, ServerError
from cdc.testing.system import HOST, as_user, unprivileged_user

_WHERE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROTOCOL = 10
"""The first byte that a server says, behind the four of a packet's header."""


@dataclass(frozen=True, slots=True)
class MariaDBInstallation:
    """MariaDB's programs.

    Args:
        version: (major, minor).
        server, install: paths of `mariadbd` and `mariadb-install-db`.
    """

    version: tuple[int, int]
    server: Path
    install: Path

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@cache
def installed_mariadb() -> MariaDBInstallation | None:
    """What can be started here, or None."""
    server = shutil.which("mariadbd", path=_WHERE) or shutil.which("mysqld", path=_WHERE)
    install = shutil.which("mariadb-install-db", path=_WHERE)
    if server is None or install is None:
        return None
    said = subprocess.run([server, "--version"], capture_output=True, text=True)
    found = re.search(r"(\d+)\.(\d+)\.\d+-MariaDB", said.stdout)
    return MariaDBInstallation((int(found[1]), int(found[2])), Path(server), Path(install)) if found else None


class MariaDBServer(Server):
    """A MariaDB server; `root` needs no password. There is an empty database `shop`.

    Args:
        settings: of the server, over the ones for quick tests (a loss of power would lose commits).
    """

    name = "mariadb"

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        installation = installed_mariadb()
        if installation is None:
            raise ServerError("no MariaDB is installed; apt-get install mariadb-server")
        self.installation = installation
        super().__init__()
        self.settings = {
            "bind-address": HOST,
            "character-set-server": "utf8mb4",
            "innodb-buffer-pool-size": "64M",
            "innodb-flush-log-at-trx-commit": "0",
            "skip-name-resolve": "1",
            **(settings or {}),
        }
        self.data_dir = self.folder / "data"

    def url(self, dbname: str = "shop", user: str = "root", scheme: str = "mariadb+pymysql") -> str:
        """A URL for SQLAlchemy."""
        return f"{scheme}://{quote(user, safe='')}@{HOST}:{self.port}/{quote(dbname, safe='')}"

    def _user(self) -> str | None:
        user = unprivileged_user()
        return "mysql" if user and any(entry.pw_name == "mysql" for entry in pwd.getpwall()) else user

    def _command(self) -> Sequence[str]:
        if not self.data_dir.exists():
            self._install()
        return [
            str(self.installation.server),
            "--no-defaults",
            f"--datadir={self.data_dir}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            *(f"--{name}={value}" for name, value in self.settings.items()),
        ]

    def _install(self) -> None:
        if user := self._user():
            shutil.chown(self.folder, user)
        command = [str(self.installation.install), "--no-defaults", f"--datadir={self.data_dir}"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        made = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **as_user(user))
        if made.returncode:
            raise ServerError(f"mariadb-install-db failed:\n{made.stdout}{made.stderr}")
        # A folder is a database.
        (self.data_dir / "shop").mkdir()
        if user:
            shutil.chown(self.data_dir / "shop", user)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                return connection.recv(5)[4:] == bytes([_PROTOCOL])
        except OSError:
            return False
