"""databases: the durable SQL servers that the scripts of bench/ write to, private to a run and on loopback.

Each has a table `user` of `rows` rows, an `url` for sluice, and `arguments` for write_load. Python 3.9+, standard
library only; Linux. As root, the servers run under their own users, which Debian's packages make.
"""
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import rig

TICKS = os.sysconf("SC_CLK_TCK")
POSTGRES_PROGRAMS = "/usr/lib/postgresql/15/bin"  # Debian keeps them out of PATH
COLUMNS = "(id {integer} PRIMARY KEY, name VARCHAR(100), age INTEGER, occupation VARCHAR(100))"


def program(name):
    path = os.path.join(POSTGRES_PROGRAMS, name)
    return path if os.path.exists(path) else name


def as_user(name):
    """The words in front of a command that make it run as that user, who owns its folder."""
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--"] if os.geteuid() == 0 else []


class SqlServer:
    """A server process with the processes that it makes."""

    def __init__(self, bench, folder, user, signal_number):
        self.folder, self.user, self.signal_number = folder, user, signal_number
        bench.servers.append(self)  # which stops it, whatever happens
        self.port, self.process = rig.free_port(), None
        os.mkdir(folder)
        os.chmod(os.path.dirname(folder), 0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, user, user)

    def launch(self, command):
        with open(self.folder + ".log", "wb") as log:
            self.process = subprocess.Popen(as_user(self.user) + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self.answers():
            if time.monotonic() > end or self.process.poll() is not None:
                with open(self.folder + ".log", encoding="utf-8", errors="replace") as log:
                    rig.fail(f"{command[0]} does not answer:\n{log.read()[-2000:]}")
            time.sleep(0.1)

    def cpu_seconds(self):
        """Of the server's process and its children; children that have ended count too."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            pids = [self.process.pid, *map(int, file.read().split())]
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            ended = sum(int(word) for word in file.read().rpartition(")")[2].split()[13:15]) / TICKS
        return ended + sum(map(thread_seconds, pids))

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.signal_number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def thread_seconds(pid):
    seconds = 0.0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                seconds += int(file.read().split()[0]) / 1e9
    except OSError:
        pass  # It has ended meanwhile.
    return seconds


class Postgres(SqlServer):
    """fsync, synchronous_commit and full_page_writes on, as PostgreSQL comes."""

    name = "PostgreSQL"

    def __init__(self, bench, folder, rows):
        super().__init__(bench, folder, "postgres", signal.SIGINT)
        rig.run([*as_user("postgres"), program("initdb"), "-D", folder + "/data", "-U", "bench", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8"])
        self.launch([program("postgres"), "-D", folder + "/data", "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                     "-c", "unix_socket_directories=" + folder, "-c", "max_connections=400", "-c", "fsync=on",
                     "-c", "synchronous_commit=on", "-c", "full_page_writes=on", "-c", "max_wal_size=4GB",
                     "-c", "shared_buffers=256MB", "-c", "autovacuum=on"])
        self.query("CREATE DATABASE bench", "postgres")
        self.query(f"""CREATE TABLE "user" {COLUMNS.format(integer="INTEGER")};
INSERT INTO "user" SELECT n, 'Name ' || n, 18 + n % 60, 'occupation' FROM generate_series(1, {rows}) n; CHECKPOINT;""")
        self.url = f"postgresql://bench@127.0.0.1:{self.port}/bench"
        self.arguments = ["--database", "postgresql", "--sql-port", str(self.port)]

    def answers(self):
        return subprocess.run([program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def query(self, text, database="bench"):
        return rig.run(["psql", "-qAth", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-v", "ON_ERROR_STOP=1", database], text)

    def settings(self):
        version = self.query("SHOW server_version").split()[0]
        return f"PostgreSQL {version}, fsync on, synchronous_commit on"

    def row(self, number):
        return self.query(f'SELECT name FROM "user" WHERE id = {number}').strip()


class Mariadb(SqlServer):
    """innodb_flush_log_at_trx_commit=1 and no binary log."""

    name = "MariaDB"

    def __init__(self, bench, folder, rows):
        super().__init__(bench, folder, "mysql", signal.SIGTERM)
        data, socket = folder + "/data", folder + "/sql.sock"
        rig.run(["mariadb-install-db", "--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal",
             "--skip-test-db", *(["--user=mysql"] if os.geteuid() == 0 else [])])
        self.shell = ["mariadb", "--no-defaults", "-S", socket, "-uroot", "-N", "-B"]
        self.launch(["mariadbd", "--no-defaults", "--datadir=" + data, f"--port={self.port}", "--bind-address=127.0.0.1",
                     "--socket=" + socket, "--pid-file=" + folder + "/pid", "--innodb-flush-log-at-trx-commit=1",
                     "--innodb-buffer-pool-size=256M", "--skip-log-bin", "--skip-name-resolve", "--max-connections=400"])
        self.query(f"""CREATE DATABASE bench; CREATE USER bench@'127.0.0.1' IDENTIFIED BY 'bench';
GRANT ALL ON bench.* TO bench@'127.0.0.1'; USE bench;
CREATE TABLE `user` {COLUMNS.format(integer="INTEGER")} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO `user` SELECT seq, CONCAT('Name ', seq), 18 + seq % 60, 'occupation' FROM seq_1_to_{rows};""")
        self.url = f"mysql://bench:bench@127.0.0.1:{self.port}/bench"
        self.arguments = ["--database", "mariadb", "--sql-port", str(self.port)]

    def answers(self):
        return subprocess.run([*self.shell, "-e", "DO 1"], check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def query(self, text):
        return rig.run(self.shell, text)

    def settings(self):
        version = self.query("SELECT VERSION()").split("-")[0]
        return f"MariaDB {version}, innodb_flush_log_at_trx_commit=1"

    def row(self, number):
        return self.query(f"SELECT name FROM bench.`user` WHERE id = {number}").strip()


class Sqlite:
    """A file in WAL mode with synchronous=FULL. It has no process: its work is done by whoever writes."""

    name = "SQLite"

    def __init__(self, _, folder, rows):
        os.mkdir(folder)
        self.file = os.path.join(folder, "bench.db")
        with self.connect() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(f"CREATE TABLE user {COLUMNS.format(integer='INTEGER')}")
            database.executemany("INSERT INTO user VALUES (?, ?, ?, 'occupation')",
                                 ((number, f"Name {number}", 18 + number % 60) for number in range(1, rows + 1)))
        self.url = "sqlite:" + self.file
        self.arguments = ["--database", "sqlite", "--file", self.file]

    def connect(self):
        return sqlite3.connect(self.file, timeout=60)

    def settings(self):
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL"

    def row(self, number):
        return self.connect().execute("SELECT name FROM user WHERE id = ?", (number,)).fetchone()[0]

    def cpu_seconds(self):
        return 0.0

    def stop(self):
        pass


KINDS = {"postgresql": Postgres, "mariadb": Mariadb, "sqlite": Sqlite}
PROGRAMS = {"postgresql": ["psql"], "mariadb": ["mariadbd", "mariadb", "mariadb-install-db"], "sqlite": []}


def require(kinds):
    """The programs that these need, besides PostgreSQL's own."""
    if unknown := set(kinds) - set(KINDS):
        rig.fail(f"no such database: {', '.join(unknown)}")
    return sum((PROGRAMS[kind] for kind in kinds), [])
