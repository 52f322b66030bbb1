#!/usr/bin/env python3
"""side_by_side: direct Redis, sluice, twemproxy and HAProxy under redis-benchmark, in interleaved rounds of one run.

    bench/side_by_side.py [--rounds 5] [--seconds 1] [--cells get:64:50:1,...] [--policy-miss] [--json FILE]

A cell is COMMAND:VALUE_BYTES:CLIENTS:PIPELINE. Starts a Redis and the proxies of its own on free ports, in a temporary
folder, and stops them at the end. Python 3.9+, standard library only. The columns are explained in bench/README.md.
"""
import argparse
import csv
import io
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CELLS = "get:64:50:1,set:64:50:1,get:64:50:16,set:64:50:16,get:64:50:64,get:64:500:16,get:65536:50:1,get:64:1:1"
TICKS = os.sysconf("SC_CLK_TCK")
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


class Cell:
    def __init__(self, text):
        try:
            command, size, clients, pipeline = text.split(":")
            self.size, self.clients, self.pipeline = int(size), int(clients), int(pipeline)
        except ValueError:
            sys.exit(f"side_by_side: not COMMAND:VALUE_BYTES:CLIENTS:PIPELINE: {text}")
        if command not in ("get", "set", "incr", "lpush", "hset"):
            sys.exit(f"side_by_side: command {command}: get, set, incr, lpush or hset")
        self.command = command
        self.name = f"{command.upper()} {size} B {clients}x{pipeline}"
        self.keys = max(1, min(10000, (64 << 20) // max(self.size, 1)))


class Server:
    """One process under test and the port to talk to."""

    def __init__(self, name, port, command, folder):
        self.name, self.port = name, port
        self.log = os.path.join(folder, name.replace(" ", "-") + ".log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)

    def wait_ready(self):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
                    if connection.recv(16).startswith(b"$-1"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            sys.exit(f"side_by_side: {self.name} does not answer:\n{log.read()[-2000:]}")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def start_redis(folder):
    port = free_port()
    return Server("direct", port, ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                                   "--appendonly", "no", "--dir", folder], folder)


def start_sluice(folder, program, redis, policies):
    port, name = free_port(), "sluice+policies" if policies else "sluice"
    text = f'[proxy]\nlisten = ["127.0.0.1:{port}"]\n[upstream]\nurl = "redis://127.0.0.1:{redis.port}"\n[admin]\nlisten = ""\n'
    if policies:
        text += POLICIES.format(folder=folder)
    return Server(name, port, [program, "-c", write(folder, name + ".toml", text)], folder)


def start_twemproxy(folder, redis):
    port, stats = free_port(), free_port()
    config = write(folder, "nutcracker.yml", f"""bench:
  listen: 127.0.0.1:{port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  client_connections: 6000
  servers:
    - 127.0.0.1:{redis.port}:1
""")
    return Server("twemproxy", port, ["nutcracker", "-c", config, "-s", str(stats), "-a", "127.0.0.1"], folder)


def start_haproxy(folder, redis):
    port = free_port()
    config = write(folder, "haproxy.cfg", f"""global
  nbthread 1
  maxconn 6000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind 127.0.0.1:{port}
  server redis 127.0.0.1:{redis.port}
""")
    return Server("haproxy", port, ["haproxy", "-db", "-f", config], folder)


def benchmark(port, cell, requests):
    """Requests per second, p50 and p99 in milliseconds."""
    command = ["redis-benchmark", "-p", str(port), "-t", cell.command, "-d", str(cell.size), "-c", str(cell.clients),
               "-P", str(cell.pipeline), "-n", str(requests), "-r", str(cell.keys), "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if done.returncode != 0 or "rror" in done.stdout + done.stderr or len(lines) < 2:
        sys.exit(f"side_by_side: {' '.join(command)}: {done.stdout}{done.stderr}")
    row = dict(zip(next(csv.reader(io.StringIO(lines[0]))), next(csv.reader(io.StringIO(lines[1])))))
    return float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"])


def measure(server, redis, cell, requests):
    own, behind = server.cpu_seconds(), redis.cpu_seconds()
    rps, p50, p99 = benchmark(server.port, cell, requests)
    return {"rps": rps, "p50": p50, "p99": p99,
            "cpu": 0.0 if server is redis else (server.cpu_seconds() - own) / requests * 1e6,
            "redis_cpu": (redis.cpu_seconds() - behind) / requests * 1e6}


def run_cell(cell, servers, redis, arguments):
    subprocess.run(["redis-cli", "-p", str(redis.port), "FLUSHALL"], stdout=subprocess.DEVNULL, check=True)
    fill = Cell(f"set:{cell.size}:50:16")
    benchmark(redis.port, fill, cell.keys * 3)
    rps, _, _ = benchmark(redis.port, cell, max(1000, cell.clients * cell.pipeline * 4))
    rps, _, _ = benchmark(redis.port, cell, max(1000, int(rps * 0.3)))
    requests = max(1000, cell.clients * cell.pipeline * 4, int(rps * arguments.seconds))
    for server in servers:
        benchmark(server.port, cell, max(1000, requests // 5))
    rounds = []
    for number in range(arguments.rounds):
        turn = number % len(servers)
        rounds.append({server.name: measure(server, redis, cell, requests)
                       for server in servers[turn:] + servers[:turn]})
    return requests, rounds


def summarise(cell, servers, rounds):
    rows = []
    for server in servers:
        samples = [results[server.name] for results in rounds]
        ratios = [results[server.name]["rps"] / results["direct"]["rps"] for results in rounds]
        row = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
        row.update(cell=cell.name, target=server.name, ratio=statistics.median(ratios), ratio_min=min(ratios),
                   ratio_max=max(ratios))
        rows.append(row)
    return rows


def show(rows):
    for row in rows:
        cpu = "" if row["target"] == "direct" else f"{row['cpu']:.2f}"
        print(f"{row['cell']:<20} {row['target']:<16} {row['rps']:>10.0f} {row['ratio']:>7.2f} "
              f"{row['ratio_min']:>6.2f}-{row['ratio_max']:<5.2f} {cpu:>9} {row['redis_cpu']:>9.2f} "
              f"{row['p50']:>8.3f} {row['p99']:>8.3f}", flush=True)
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement at direct Redis' speed")
    parser.add_argument("--cells", default=CELLS)
    parser.add_argument("--policy-miss", action="store_true", help="also a sluice whose policies match no key used here")
    parser.add_argument("--without", default="", help="comma-separated targets to leave out: twemproxy, haproxy")
    parser.add_argument("--sluice", default=os.path.join(ROOT, "build", "release", "sluice"))
    parser.add_argument("--json", help="write every round here")
    arguments = parser.parse_args()
    cells = [Cell(text) for text in arguments.cells.split(",")]
    skipped = set(filter(None, arguments.without.split(",")))
    needed = ["redis-server", "redis-benchmark", "redis-cli", arguments.sluice]
    needed += [program for name, program in (("twemproxy", "nutcracker"), ("haproxy", "haproxy")) if name not in skipped]
    for program in needed:
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
            sys.exit(f"side_by_side: {program} not found (scripts/install-deps --bench; cmake --preset release)")
    os.environ["PATH"] += ":/usr/sbin"
    # SIGTERM becomes an exception, so that the finally below stops what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    folder, servers, kept = tempfile.mkdtemp(prefix="sluice-bench."), [], []
    try:
        redis = start_redis(folder)
        servers.append(redis)
        redis.wait_ready()
        servers.append(start_sluice(folder, arguments.sluice, redis, policies=False))
        if arguments.policy_miss:
            servers.append(start_sluice(folder, arguments.sluice, redis, policies=True))
        if "twemproxy" not in skipped:
            servers.append(start_twemproxy(folder, redis))
        if "haproxy" not in skipped:
            servers.append(start_haproxy(folder, redis))
        for server in servers:
            server.wait_ready()
        print(f"{'cell':<20} {'target':<16} {'ops/s':>10} {'ratio':>7} {'min':>6}-{'max':<5} {'cpu us/rq':>9} "
              f"{'redis us':>9} {'p50 ms':>8} {'p99 ms':>8}", flush=True)
        for cell in cells:
            requests, rounds = run_cell(cell, servers, redis, arguments)
            kept.append({"cell": cell.name, "requests": requests, "rounds": rounds})
            show(summarise(cell, servers, rounds))
        if arguments.json:
            write(os.getcwd(), arguments.json, json.dumps(kept, indent=1))
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
