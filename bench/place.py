"""place: a database with a sluice in front of it and one Redis behind both, and what was used while clients were at work.

Python 3.9+, standard library only; Linux.
"""
import json
import os
import subprocess
import time
import urllib.request

import databases
import rig


class Place:
    """`policy` is the text of a policy on backend `bench`; `{url}` and `{connections}` stand for the backend's."""

    def __init__(self, bench, kind, rows, policy, connections=None):
        self.bench, self.rows = bench, rows
        self.database = databases.KINDS[kind](bench, os.path.join(bench.folder, kind), rows)
        self.admin = rig.free_port()
        connections = f"connections = {connections}" if connections else ""
        self.sluice = bench.start_sluice("sluice-" + kind, admin=self.admin,
                                         more=policy.format(url=self.database.url, connections=connections))
        self.sluice.wait_ready()
        wait_for_trust(bench)

    def stop(self):
        self.bench.remove(self.sluice)
        self.database.stop()

    def counts(self):
        """What has been used and done so far."""
        redis = {}
        for line in rig.run(["redis-cli", *self.bench.redis.address, "INFO", "commandstats"]).splitlines():
            name, _, fields = line.partition(":")
            redis[name] = dict(field.split("=") for field in fields.split(",") if "=" in field)
        scripts = redis.get("cmdstat_evalsha", {"calls": 0, "usec": 0})
        used = metrics(self.admin)
        return {"proxy_us": self.sluice.cpu_seconds() * 1e6, "redis_us": self.bench.redis.cpu_seconds() * 1e6,
                "database_us": self.database.cpu_seconds() * 1e6, "scripts": float(scripts["calls"]),
                "script_us": float(scripts["usec"]), "busy_us": rig.busy_seconds() * 1e6,
                "elapsed_us": time.monotonic() * 1e6,
                "transactions": used['sluice_sql_transactions_total{backend="bench"}'],
                "queries": sum(value for name, value in used.items()
                               if name.startswith("sluice_sql_seconds_count") and 'op="read_row' in name)}

    def measure(self, command):
        """Runs a program that says `ready`, measures, and answers in JSON; what was used meanwhile, for each thing that
        it has done."""
        self.bench.flush()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as load:
            self.expect(load, "ready")
            before = self.counts()
            load.stdin.write("go\n")
            load.stdin.flush()
            found = json.loads(self.expect(load, "{"))
            after = self.counts()
            load.stdin.close()
        done = max(1, found["done"])
        result = {name: (after[name] - before[name]) / done for name in before}
        result.update(done=done, rate=done / found["seconds"], clients_us=found["cpu"] / done * 1e6, p50=found["p50"],
                      p99=found["p99"], own_queries=found.get("queries", 0) / done)
        own = sum(result[name] for name in ("proxy_us", "redis_us", "database_us", "clients_us"))
        result["others"] = max(0.0, (result["busy_us"] - own) / result["elapsed_us"] / os.cpu_count())
        return result

    @staticmethod
    def expect(load, start):
        line = load.stdout.readline()
        if not line.startswith(start):
            rig.fail(f"{os.path.basename(load.args[0])}: {line}{load.stderr.read()}")
        return line


def metrics(port):
    """Each sample of sluice's, by its name with its labels."""
    found = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
    return found


def wait_for_trust(bench):
    """Until sluice has written down which Redis it is that it knows: it drops no copies from then on."""
    end = time.monotonic() + 20
    while rig.run(["redis-cli", *bench.redis.address, "EXISTS", "__sluice:run"]).strip() != "1":
        if time.monotonic() > end:
            rig.fail("sluice does not come to terms with Redis")
        time.sleep(0.02)
