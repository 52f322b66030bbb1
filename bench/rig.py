"""rig: the servers that the scripts of bench/ measure, what drives them, and what /proc tells of them.

Everything runs on loopback, on free ports, in one temporary folder that goes with the Rig. Python 3.9+, standard library
only; Linux.
"""
import csv
import io
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SLUICE = os.path.join(ROOT, "build", "release", "sluice")
CROWD = 10000  # connections of an idle crowd
COMMANDS = ("get", "set", "incr", "lpush", "hset")
VARIANTS = ("", "unix", "crowd", "policies")
POLICIES = """
[backend.none]
url = "sqlite:{folder}/none.db"

[[policy]]
name = "user"
key = "user:{{name}}"
backend = "none"
table = "users"
value = "json"
write = "write-through"

[[policy]]
name = "fruit"
key = "fruit:{{id:int}}"
backend = "none"
table = "fruit"
value = "json"
read = "cache-aside"

[[policy]]
name = "views"
key = "views:{{id}}"
backend = "none"
table = "views"
value = "counter"
column = "value"
"""


def fail(message):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


class Cell:
    """What is asked for: COMMAND:VALUE_BYTES:CLIENTS:PIPELINE[:VARIANT]."""

    def __init__(self, text):
        parts = text.split(":")
        try:
            self.command, self.size, self.clients, self.pipeline = parts[0], *(int(part) for part in parts[1:4])
        except ValueError:
            fail(f"not COMMAND:VALUE_BYTES:CLIENTS:PIPELINE[:VARIANT]: {text}")
        self.variant = parts[4] if len(parts) == 5 else ""
        if self.command not in COMMANDS or self.variant not in VARIANTS or len(parts) > 5:
            fail(f"{text}: the command is one of {', '.join(COMMANDS)}, the variant one of{', '.join(VARIANTS)}")
        self.text = text
        self.name = f"{self.command.upper()} {size_name(self.size)} {self.clients}x{self.pipeline}"
        if self.variant:
            self.name += " " + self.variant
        self.keys = max(1, min(10000, (64 << 20) // max(self.size, 1)))


def size_name(size):
    return f"{size // 1024} KiB" if size >= 1024 and size % 1024 == 0 else f"{size} B"


class Server:
    """One process under test and where to talk to it: a port of 127.0.0.1 or a Unix socket."""

    def __init__(self, name, command, folder, port=0, path="", environment=None):
        self.name, self.port, self.path = name, port, path
        self.log = os.path.join(folder, name.replace(" ", "-") + ".log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                            env=dict(os.environ, **(environment or {})))

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        """The arguments of redis-benchmark and redis-cli."""
        return ["-s", self.path] if self.path else ["-p", str(self.port)]

    def connect(self, source="", timeout=60.0):
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
        else:
            connection = socket.socket()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports of each pair of hosts
                connection.bind((source, 0))
        connection.settimeout(timeout)
        connection.connect(self.path or ("127.0.0.1", self.port))
        return connection

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with self.connect(timeout=5) as connection:
                    connection.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
                    if connection.recv(16).startswith(b"$-1"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            fail(f"{self.name} does not answer:\n{log.read()[-2000:]}")

    def cpu_seconds(self):
        """CPU time of all threads, user and system, from the scheduler's own clock (nanoseconds)."""
        return sum(int(text.split()[0]) for text in self._of_threads("schedstat")) / 1e9

    def context_switches(self):
        total = 0
        for text in self._of_threads("status"):
            total += sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
        return total

    def reads_and_writes(self):
        """Calls of read and write and their vector forms so far; not recv, send or sendmsg."""
        with open(f"/proc/{self.pid}/io", encoding="ascii") as file:
            fields = dict(line.split(": ") for line in file.read().splitlines())
        return int(fields["syscr"]), int(fields["syscw"])

    def resident_bytes(self):
        return self.memory()["Rss"]

    def memory(self):
        """The fields of smaps_rollup, in bytes."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file.read().splitlines()[1:]}

    def wait_quiet(self, seconds=15):
        """Until it has used next to no CPU for a tenth of a second: all it was sent is dealt with."""
        end, before = time.monotonic() + seconds, self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(0.1)
            now = self.cpu_seconds()
            if now - before < 0.002:
                return
            before = now

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _of_threads(self, file):
        texts = []
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{thread}/{file}", encoding="ascii") as opened:
                    texts.append(opened.read())
            except OSError:
                pass  # The thread has ended meanwhile.
        return texts


class Rig:
    """A temporary folder, a Redis in it, and the proxies in front; all stopped and removed at the end of `with`."""

    def __init__(self, sluice=SLUICE):
        self.sluice_program = os.path.abspath(sluice)
        self.folder, self.servers, self.redis = "", [], None
        self.clients_max = raise_open_files() // 2 - 500  # HAProxy needs two descriptors for each client

    def __enter__(self):
        # SIGTERM becomes an exception, so that __exit__ stops what was started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.folder = tempfile.mkdtemp(prefix="sluice-bench.")
        port, path = free_port(), os.path.join(self.folder, "redis.sock")
        self.redis = self._add("direct", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", path,
                                          "--save", "", "--appendonly", "no", "--maxclients", str(CROWD + 6000),
                                          "--tcp-backlog", "4096", "--dir", self.folder], port)
        self.redis_socket = path
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_sluice(self, name="sluice", policies=False, unix=False, before=(), environment=None, more="", admin=0):
        """`before` are words in front of the program: a tool that it runs under. `more` ends its configuration; `admin`
        is a port for its metrics."""
        port, path = (0, os.path.join(self.folder, name + ".sock")) if unix else (free_port(), "")
        text = f"""[proxy]
listen = ["{"unix:" + path if unix else f"127.0.0.1:{port}"}"]
max_clients = {CROWD + 6000}
[upstream]
url = "{"unix:" + self.redis_socket if unix else f"redis://127.0.0.1:{self.redis.port}"}"
[admin]
listen = "{f"127.0.0.1:{admin}" if admin else ""}"
{more}"""
        if policies:
            text += POLICIES.format(folder=self.folder)
        command = [*before, self.sluice_program, "-c", self.write(name + ".toml", text)]
        return self._add(name, command, port, path, environment)

    def start_twemproxy(self):
        port, stats = free_port(), free_port()
        config = self.write("nutcracker.yml", f"""bench:
  listen: 127.0.0.1:{port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  backlog: 4096
  client_connections: {CROWD + 6000}
  servers:
    - 127.0.0.1:{self.redis.port}:1
""")
        return self._add("twemproxy", ["nutcracker", "-c", config, "-s", str(stats), "-a", "127.0.0.1"], port)

    def start_haproxy(self):
        port = free_port()
        config = self.write("haproxy.cfg", f"""global
  nbthread 1
  maxconn {min(self.clients_max, CROWD + 6000)}
defaults
  mode tcp
  timeout connect 5s
  timeout client 600s
  timeout server 600s
listen bench
  bind 127.0.0.1:{port} backlog 4096
  server redis 127.0.0.1:{self.redis.port}
""")
        return self._add("haproxy", ["haproxy", "-db", "-f", config], port)

    def direct_unix(self):
        """The same Redis, reached over its Unix socket."""
        server = Server.__new__(Server)
        server.__dict__.update(self.redis.__dict__, name="direct/unix", path=self.redis_socket)
        return server

    def remove(self, server):
        server.stop()
        self.servers.remove(server)

    def wait_ready(self):
        for server in self.servers:
            server.wait_ready()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def flush(self):
        subprocess.run(["redis-cli", *self.redis.address, "FLUSHALL"], stdout=subprocess.DEVNULL, check=True)

    def fill(self, cell):
        """Gives the keys of the cell values of its size."""
        self.flush()
        benchmark(self.redis, Cell(f"set:{cell.size}:50:16"), cell.keys * 3, cell.keys)

    def _add(self, name, command, port, path="", environment=None):
        server = Server(name, command, self.folder, port, path, environment)
        self.servers.append(server)
        return server


class Crowd:
    """Connections that are open and say nothing, or have said one thing; closed at the end of `with`."""

    def __init__(self, server, count=CROWD, command=b""):
        self.server, self.connections = server, []
        try:
            for number in range(count):
                # One source address has some 28 000 ports, those of connections just closed included.
                self.connections.append(server.connect(source=f"127.0.0.{2 + number % 8}"))
                if command:
                    self.connections[-1].sendall(command)
        except OSError as error:
            fail(f"{server.name}: connection {len(self.connections)} of a crowd: {error}")
        if command:
            for connection in self.connections:
                if not connection.recv(4096):
                    fail(f"{server.name} closed a connection of a crowd")
        server.wait_quiet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        self.server.wait_quiet()


def busy_seconds():
    """CPU time that all processes of the machine have used, the hypervisor's theft included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Bystanders:
    """How much of the machine was used meanwhile by processes that have no part in a measurement."""

    def __init__(self, *servers):
        self.servers = {server.pid: server for server in servers}.values()
        self.began, self.busy, self.own = time.monotonic(), busy_seconds(), self._own_seconds()

    def share(self):
        elapsed = (time.monotonic() - self.began) * os.cpu_count()
        return max(0.0, (busy_seconds() - self.busy - self._own_seconds() + self.own) / elapsed)

    def _own_seconds(self):
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used) + sum(server.cpu_seconds() for server in self.servers)


def raise_open_files():
    """As many open files as this user may have; servers that are started inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most
    if most == resource.RLIM_INFINITY or most > 65536:
        wanted = 65536
    elif most < 65536:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
            return 65536
        except (ValueError, OSError):
            pass  # Only root may.
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


def require(*programs):
    os.environ["PATH"] += ":/usr/sbin"
    for program in programs:
        if shutil.which(program) is None:
            fail(f"{program} not found (scripts/install-deps --bench; cmake --preset release)")


def run(command, text=""):
    """What a command prints that is given `text`; it must not fail."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def benchmark_command(server, cell, requests, keys=None):
    return ["redis-benchmark", *server.address, "-t", cell.command, "-d", str(cell.size), "-c", str(cell.clients),
            "-P", str(cell.pipeline), "-n", str(requests), "-r", str(keys or cell.keys), "--csv"]


def benchmark(server, cell, requests, keys=None, before=()):
    """Requests per second, p50 and p99 in milliseconds. `before` are words in front of redis-benchmark."""
    return run_benchmark([*before, *benchmark_command(server, cell, requests, keys)])


def run_benchmark(command):
    """The same of a redis-benchmark that prints CSV."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if done.returncode != 0 or "rror" in done.stdout + done.stderr or len(lines) < 2:
        fail(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    row = dict(zip(next(csv.reader(io.StringIO(lines[0]))), next(csv.reader(io.StringIO(lines[1])))))
    return float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"])


def markdown_table(head, rows):
    """Columns of figures are aligned to the right."""
    text = "| " + " | ".join(head) + " |\n|" + "".join("---|" if not column else "---:|" for column in range(len(head))) + "\n"
    return text + "".join("| " + " | ".join(str(value) for value in row) + " |\n" for row in rows)


def write_section(path, title, text):
    """Puts `text` under the heading `## title` of the Markdown file `path`, in place of what was there."""
    old = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            old = file.read()
    section = f"## {title}\n\n{text.strip()}\n"
    begin = old.find(f"## {title}\n")
    if begin < 0:
        new = (old.rstrip() + "\n\n" if old.strip() else "# Results\n\n") + section
    else:
        end = old.find("\n## ", begin)
        new = old[:begin] + section + ("" if end < 0 else old[end:])
    with open(path, "w", encoding="utf-8") as file:
        file.write(new)


def machine():
    """One line on where the figures come from."""
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    redis = next((word[2:] for word in version.split() if word.startswith("v=")), "?")
    return (f"{len(os.sched_getaffinity(0))} cores, Linux {os.uname().release.split('-')[0]}, Redis {redis}, "
            f"load {os.getloadavg()[0]:.1f} at the start")


def median(values):
    return statistics.median(values)
