#!/usr/bin/env python3
"""write_through: writes through sluice beside clients that write to SQL and then to Redis themselves.

    bench/write_through.py [--databases postgresql,mariadb,sqlite] [--clients 1,16,64,256] [--seconds 3] [--rounds 5]
                           [--connections N] [--sync-delay MS] [--sluice FILE] [--load FILE] [--json FILE] [--markdown FILE]

Both kinds of clients take turns, round by round, on one database that waits for its disk at every commit. Python 3.9+,
standard library only, and the databases' servers. bench/README.md explains the columns.
"""
import argparse
import json
import os
import random
import sys
import time

sys.dont_write_bytecode = True
import databases  # noqa: E402  pylint: disable=wrong-import-position
import place  # noqa: E402  pylint: disable=wrong-import-position
import rig  # noqa: E402  pylint: disable=wrong-import-position

# Of the throughput of clients without sluice, at least; by the number of clients.
GOALS = {"PostgreSQL": {1: 0.75, 64: 2.0, 256: 3.0}, "MariaDB": {1: 0.75, 64: 2.0, 256: 3.0},
         "SQLite": {1: 0.75, 64: 10.0, 256: 10.0}}
POLICY = """
[backend.bench]
url = "{url}"
{connections}
[[policy]]
name = "user"
key = "user:{{id:int}}"
backend = "bench"
table = "user"
value = "json"
write = "write-through"
"""
SAMPLES = 50  # rows that are compared with their copies after a round


class Writes(place.Place):
    """Two kinds of clients that write to one place."""

    def __init__(self, bench, kind, arguments):
        super().__init__(bench, kind, arguments.rows, POLICY, arguments.connections)
        self.loads = {
            "example": [arguments.load, *self.database.arguments, "--redis-port", str(bench.redis.port)],
            "sluice": [arguments.load, "--redis-port", str(self.sluice.port)],
        }

    def measure_writes(self, mode, clients, seconds):
        result = self.measure([*self.loads[mode], "--clients", str(clients), "--seconds", str(seconds), "--rows",
                               str(self.rows)])
        if mode == "sluice":
            self.compare()
        return result

    def compare(self):
        """The copies of a round through sluice are what the database has."""
        keys = rig.run(["redis-cli", *self.bench.redis.address, "--scan", "--pattern", "user:*"]).split()
        for key in random.sample(keys, min(SAMPLES, len(keys))):
            copy = json.loads(rig.run(["redis-cli", *self.bench.redis.address, "GET", key]))
            if copy["name"] != self.database.row(copy["id"]):
                rig.fail(f"{self.database.name}: the copy of {key} is not the row")


HEAD = ["database", "clients", "target", "writes/s", "ratio", "min-max", "p50 ms", "p99 ms", "proxy us", "redis us",
        "database us", "clients us", "scripts", "script us", "transactions", "others"]
LAYOUT = "{:<11} {:>7} {:<8} {:>8} {:>6} {:>11} {:>8} {:>8} {:>8} {:>8} {:>11} {:>10} {:>7} {:>9} {:>12} {:>6}"
GOAL_HEAD = ["database", "clients", "goal", "measured", "min-max", ""]


def sync_milliseconds(folder, count=200):
    """How long the disk takes to say that 8 KiB are on it: what a commit waits for, at least."""
    times = []
    with open(os.path.join(folder, "sync"), "wb+", buffering=0) as file:
        file.write(bytes(8192 * count))
        os.fsync(file.fileno())
        for number in range(count):
            os.pwrite(file.fileno(), bytes(8192), 8192 * number)
            began = time.monotonic()
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - began) * 1e3)
    return rig.median(times)


def slow_down_syncs(folder, milliseconds):
    """Of all programs that are started from here on."""
    if milliseconds == 0:
        return
    library = os.path.join(folder, "slow_sync.so")
    source = os.path.join(rig.ROOT, "bench", "slow_sync.c")
    rig.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"])
    os.chmod(folder, 0o755)
    os.environ.update(LD_PRELOAD=library, SLOW_SYNC_US=str(int(milliseconds * 1000)))


def summarise(name, clients, rounds):
    rows = []
    ratios = sorted(one["sluice"]["rate"] / one["example"]["rate"] for one in rounds)
    for mode in ("example", "sluice"):
        of = {key: rig.median(one[mode][key] for one in rounds) for key in rounds[0][mode]}
        through = mode == "sluice"
        rows.append([name, clients, mode, f"{of['rate']:.0f}", f"{rig.median(ratios):.2f}" if through else "",
                     f"{ratios[0]:.2f}-{ratios[-1]:.2f}" if through else "", f"{of['p50']:.2f}", f"{of['p99']:.2f}",
                     f"{of['proxy_us']:.1f}" if through else "", f"{of['redis_us']:.1f}",
                     "" if name == "SQLite" else f"{of['database_us']:.1f}", f"{of['clients_us']:.1f}",
                     f"{of['scripts']:.3f}" if through else "", f"{of['script_us']:.1f}" if through else "",
                     f"{of['transactions']:.3f}" if through else "1", f"{of['others']:.0%}"])
    goal = GOALS[name].get(clients)
    verdict = [] if goal is None else [[name, clients, f">= {goal:.2f}", f"{rig.median(ratios):.2f}",
                                        f"{ratios[0]:.2f}-{ratios[-1]:.2f}",
                                        "met" if rig.median(ratios) >= goal else "NOT MET"]]
    return rows, verdict


def run_database(bench, kind, arguments, kept, rows, goals):
    writes = Writes(bench, kind, arguments)
    try:
        settings = writes.database.settings()
        for clients in arguments.clients:
            writes.measure_writes("sluice", clients, min(1.0, arguments.seconds))  # what is only done once
            rounds = []
            for number in range(arguments.rounds):
                order = ("example", "sluice") if number % 2 == 0 else ("sluice", "example")
                rounds.append({mode: writes.measure_writes(mode, clients, arguments.seconds) for mode in order})
            kept.append({"database": writes.database.name, "clients": clients, "rounds": rounds})
            more_rows, more_goals = summarise(writes.database.name, clients, rounds)
            rows += more_rows
            goals += more_goals
            for row in more_rows:
                print(LAYOUT.format(*map(str, row)), flush=True)
        return settings
    finally:
        writes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", default=",".join(databases.KINDS))
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rows", type=int, default=100000, help="of the table; keys are drawn from these")
    parser.add_argument("--connections", type=int, help="of sluice to the database, in place of its default")
    parser.add_argument("--sync-delay", type=float, default=0, help="milliseconds that every sync takes longer (needs cc)")
    parser.add_argument("--sluice", default=rig.SLUICE)
    parser.add_argument("--load", help="write_load; beside sluice, in bench/")
    parser.add_argument("--json", help="write every round here")
    parser.add_argument("--markdown", help="put the tables into this file (bench/results.md)")
    arguments = parser.parse_args()
    arguments.clients = [int(count) for count in arguments.clients.split(",")]
    arguments.load = os.path.abspath(arguments.load or os.path.join(os.path.dirname(arguments.sluice), "bench", "write_load"))
    kinds = arguments.databases.split(",")
    rig.require("redis-server", "redis-cli", arguments.sluice, arguments.load, *databases.require(kinds))
    where, settings, kept, rows, goals = rig.machine(), [], [], [], []
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        slow_down_syncs(bench.folder, arguments.sync_delay)
        settings.append(f"fdatasync {sync_milliseconds(bench.folder) + arguments.sync_delay:.2f} ms")
        print(settings[0])
        print(LAYOUT.format(*HEAD), flush=True)
        try:
            for kind in kinds:
                settings.append(run_database(bench, kind, arguments, kept, rows, goals))
        finally:  # Interrupted, it reports what is done.
            for goal in goals:
                print("{:<11} {:>4} clients: goal {:>8}, measured {:>6} ({}) {}".format(*goal))
            if arguments.json:
                with open(arguments.json, "w", encoding="utf-8") as file:
                    json.dump(kept, file, indent=1)
            if arguments.markdown:
                text = (f"{where}. {'; '.join(settings)}. Medians of {arguments.rounds} rounds of {arguments.seconds:g} s, "
                        f"{arguments.rows} rows.\n\n")
                slow = f", {arguments.sync_delay:g} ms more for a sync" if arguments.sync_delay else ""
                rig.write_section(arguments.markdown, "Write-through" + slow,
                                  text + rig.markdown_table(GOAL_HEAD, goals) + "\n" + rig.markdown_table(HEAD, rows))


if __name__ == "__main__":
    main()
