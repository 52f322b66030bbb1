#!/usr/bin/env python3
"""reads: what a cache-aside policy costs a hit, how many misses it serves, and how many queries it saves.

    bench/reads.py [--parts hits,misses,zipf] [--databases postgresql,mariadb,sqlite] [--clients 1,16,50,256]
                   [--seconds 2] [--rounds 5] [--hit-rounds 15] [--connections N]
                   [--sluice FILE] [--load FILE] [--json FILE] [--markdown FILE]

What is compared takes turns, round by round. Python 3.9+, standard library only, and the databases' servers.
bench/README.md explains the parts and the columns.
"""
import argparse
import json
import os
import sys

sys.dont_write_bytecode = True
import databases  # noqa: E402  pylint: disable=wrong-import-position
import place  # noqa: E402  pylint: disable=wrong-import-position
import rig  # noqa: E402  pylint: disable=wrong-import-position

POLICY = """
[backend.bench]
url = "{{url}}"
{{connections}}
[[policy]]
name = "user"
key = "user:{{{{id:int}}}}"
backend = "bench"
table = "user"
value = "json"
read = "cache-aside"
{more}
"""
HIT_GOAL = 0.97  # of the throughput of keys without a policy
MISS_GOAL = 2.0  # of the throughput of clients without sluice
MISS_GOAL_CLIENTS = 16  # and more: a single client waits for one thing after the other
HIT_KEYS = 10000
HIT_CELLS = [(clients, pipeline) for clients in (1, 16, 50) for pipeline in (1, 16)]
ZIPF = {"skew": 1.0, "rows": 20000, "rate": 8000, "clients": 50, "ttl_ms": 1000}
ZIPF_ABSENT = (0, 10)  # per cent of the users that are asked for

HIT_HEAD = ["clients", "pipeline", "keys", "ops/s", "ratio", "min-max", "cpu us/rq", "redis us", "p50 ms", "p99 ms", "others"]
MISS_HEAD = ["database", "clients", "target", "misses/s", "ratio", "min-max", "p50 ms", "p99 ms", "proxy us", "redis us",
             "database us", "clients us", "scripts", "script us", "others"]
ZIPF_HEAD = ["database", "absent", "target", "reads", "queries", "queries per 1000 reads", "of the example's", "others"]
GOAL_HEAD = ["part", "of", "goal", "measured", "min-max", ""]


class Hits:
    """Keys of a policy and keys of none, all of them in Redis."""

    def __init__(self, bench):
        self.bench, self.admin, self.sent = bench, rig.free_port(), {"fruit": 0, "other": 0}
        self.sluice = bench.start_sluice("sluice-hits", policies=True, admin=self.admin)
        self.sluice.wait_ready()
        place.wait_for_trust(bench)
        fill = "for i = 0, ARGV[2] - 1 do redis.call('SET', string.format('%s:1%012d', ARGV[1], i), ARGV[3]) end"
        for prefix in ("fruit", "other"):
            rig.run(["redis-cli", *bench.redis.address, "EVAL", fill, "0", prefix, str(HIT_KEYS), "v" * 64])

    def measure(self, prefix, clients, pipeline, requests):
        self.sent[prefix] += requests
        before = self.sluice.cpu_seconds(), self.bench.redis.cpu_seconds()
        others = rig.Bystanders(self.sluice, self.bench.redis)
        rate, p50, p99 = rig.run_benchmark(["redis-benchmark", *self.sluice.address, "-c", str(clients), "-P", str(pipeline),
                                            "-n", str(requests), "-r", str(HIT_KEYS), "--csv", "GET",
                                            f"{prefix}:1__rand_int__"])
        share = others.share()
        return {"rate": rate, "p50": p50, "p99": p99, "others": share,
                "cpu_us": (self.sluice.cpu_seconds() - before[0]) / requests * 1e6,
                "redis_us": (self.bench.redis.cpu_seconds() - before[1]) / requests * 1e6}

    def check(self):
        found = place.metrics(self.admin)
        hits = found['sluice_policy_hits_total{policy="fruit"}']
        if hits != self.sent["fruit"] or any(found[name] for name in found if name.startswith("sluice_policy_misses_total")):
            rig.fail(f"{hits:.0f} hits, {self.sent['fruit']} reads")


def run_hits(arguments, report):
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        hits = Hits(bench)
        for clients, pipeline in HIT_CELLS:
            rate = hits.measure("other", clients, pipeline, 2000 * pipeline)["rate"]
            requests = max(1000, int(rate * arguments.hit_seconds)) // pipeline * pipeline  # redis-benchmark sends whole ones
            rounds = []
            for number in range(arguments.hit_rounds):
                order = ("other", "fruit") if number % 2 == 0 else ("fruit", "other")
                rounds.append({prefix: hits.measure(prefix, clients, pipeline, requests) for prefix in order})
            hits.check()
            report.hits(clients, pipeline, rounds)


class Reads(place.Place):
    """Clients with a cache of their own, and clients of sluice."""

    def __init__(self, bench, kind, arguments, rows, more=""):
        super().__init__(bench, kind, rows, POLICY.format(more=more), arguments.connections)
        self.loads = {
            "example": [arguments.load, *self.database.arguments, "--redis-port", str(bench.redis.port)],
            "sluice": [arguments.load, "--redis-port", str(self.sluice.port)],
        }

    def measure_reads(self, mode, clients, seconds, *more):
        return self.measure([*self.loads[mode], "--clients", str(clients), "--seconds", str(seconds), "--rows",
                             str(self.rows), *more])

    def measure_rounds(self, rounds, clients, seconds, *more):
        found = []
        for number in range(rounds):
            order = ("example", "sluice") if number % 2 == 0 else ("sluice", "example")
            found.append({mode: self.measure_reads(mode, clients, seconds, *more) for mode in order})
        return found


def run_misses(kind, arguments, report):
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        reads = Reads(bench, kind, arguments, arguments.rows)
        report.settings.append(reads.database.settings())
        for clients in arguments.clients:
            reads.measure_reads("sluice", clients, min(0.5, arguments.seconds))  # what is only done once
            report.misses(reads.database.name, clients, reads.measure_rounds(arguments.rounds, clients, arguments.seconds))


def run_zipf(kind, arguments, report):
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        ttl = f"{ZIPF['ttl_ms']}ms"
        reads = Reads(bench, kind, arguments, ZIPF["rows"], f'ttl = "{ttl}"\nttl_jitter = 0\nnegative_ttl = "{ttl}"')
        for absent in ZIPF_ABSENT:
            report.zipf(reads.database.name, absent, reads.measure_rounds(
                1, ZIPF["clients"], arguments.zipf_seconds, "--skew", str(ZIPF["skew"]), "--rate", str(ZIPF["rate"]), "--ttl",
                str(ZIPF["ttl_ms"]), "--absent", str(absent)))


def medians(rounds, name):
    return {key: rig.median(one[name][key] for one in rounds) for key in rounds[0][name]}


def print_row(head, row):
    print(" | ".join(f"{title} {value}" for title, value in zip(head, row) if value != ""), flush=True)


class Report:
    """Rows of the tables, as they come."""

    def __init__(self):
        self.settings, self.kept, self.goals = [], [], []
        self.hit_rows, self.miss_rows, self.zipf_rows = [], [], []

    def add(self, rows, head, row):
        rows.append(row)
        print_row(head, row)

    def judge(self, part, of, ratios, goal):
        middle = rig.median(ratios)
        self.goals.append([part, of, f">= {goal:.2f}", f"{middle:.2f}", f"{ratios[0]:.2f}-{ratios[-1]:.2f}",
                           "met" if middle >= goal else "NOT MET"])

    def hits(self, clients, pipeline, rounds):
        self.kept.append({"part": "hits", "clients": clients, "pipeline": pipeline, "rounds": rounds})
        ratios = sorted(one["fruit"]["rate"] / one["other"]["rate"] for one in rounds)
        for prefix, name in (("other", "plain"), ("fruit", "policy")):
            of, mine = medians(rounds, prefix), prefix == "fruit"
            self.add(self.hit_rows, HIT_HEAD,
                     [clients, pipeline, name, f"{of['rate']:.0f}", f"{rig.median(ratios):.2f}" if mine else "",
                      f"{ratios[0]:.2f}-{ratios[-1]:.2f}" if mine else "", f"{of['cpu_us']:.2f}", f"{of['redis_us']:.2f}",
                      f"{of['p50']:.3f}", f"{of['p99']:.3f}", f"{of['others']:.0%}"])
        self.judge(f"hits {clients}x{pipeline}", "policy / plain", ratios, HIT_GOAL)

    def misses(self, database, clients, rounds):
        self.kept.append({"part": "misses", "database": database, "clients": clients, "rounds": rounds})
        ratios = sorted(one["sluice"]["rate"] / one["example"]["rate"] for one in rounds)
        for mode in ("example", "sluice"):
            of, mine = medians(rounds, mode), mode == "sluice"
            self.add(self.miss_rows, MISS_HEAD,
                     [database, clients, mode, f"{of['rate']:.0f}", f"{rig.median(ratios):.2f}" if mine else "",
                      f"{ratios[0]:.2f}-{ratios[-1]:.2f}" if mine else "", f"{of['p50']:.2f}", f"{of['p99']:.2f}",
                      f"{of['proxy_us']:.1f}" if mine else "", f"{of['redis_us']:.1f}",
                      "" if database == "SQLite" else f"{of['database_us']:.1f}", f"{of['clients_us']:.1f}",
                      f"{of['scripts']:.3f}" if mine else "", f"{of['script_us']:.1f}" if mine else "",
                      f"{of['others']:.0%}"])
        if clients >= MISS_GOAL_CLIENTS:
            self.judge(f"misses, {database}, {clients} clients", "sluice / example", ratios, MISS_GOAL)

    def zipf(self, database, absent, rounds):
        self.kept.append({"part": "zipf", "database": database, "absent": absent, "rounds": rounds})
        one = rounds[0]
        queries = {"example": one["example"]["own_queries"], "sluice": one["sluice"]["queries"]}
        for mode in ("example", "sluice"):
            share = f"{queries['sluice'] / queries['example']:.2f}" if mode == "sluice" else ""
            self.add(self.zipf_rows, ZIPF_HEAD,
                     [database, f"{absent} %", mode, one[mode]["done"], f"{queries[mode] * one[mode]['done']:.0f}",
                      f"{queries[mode] * 1000:.1f}", share, f"{one[mode]['others']:.0%}"])

    def write(self, path, arguments, where):
        head = f"{where}. "
        if self.goals:
            rig.write_section(path, "Reads: goals", head + "\n\n" + rig.markdown_table(GOAL_HEAD, self.goals))
        if self.hit_rows:
            rig.write_section(path, "Reads: hits", head + f"Medians of {arguments.hit_rounds} rounds of "
                              f"{arguments.hit_seconds:g} s, 64 bytes.\n\n" + rig.markdown_table(HIT_HEAD, self.hit_rows))
        if self.miss_rows:
            rig.write_section(path, "Reads: misses", head + f"{'; '.join(self.settings)}. Medians of {arguments.rounds} rounds "
                              f"of {arguments.seconds:g} s, {arguments.rows} rows.\n\n"
                              + rig.markdown_table(MISS_HEAD, self.miss_rows))
        if self.zipf_rows:
            rig.write_section(path, "Reads: queries saved", head + f"Zipf's law with exponent {ZIPF['skew']:g} over "
                              f"{ZIPF['rows']} users, {ZIPF['rate']} reads/s by {ZIPF['clients']} clients, ttl "
                              f"{ZIPF['ttl_ms']} ms, {arguments.zipf_seconds:g} s.\n\n"
                              + rig.markdown_table(ZIPF_HEAD, self.zipf_rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="hits,misses,zipf")
    parser.add_argument("--databases", default=",".join(databases.KINDS))
    parser.add_argument("--clients", default="1,16,50,256", help="of misses")
    parser.add_argument("--rounds", type=int, default=5, help="of misses")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement of misses, at most")
    parser.add_argument("--hit-rounds", type=int, default=15)
    parser.add_argument("--hit-seconds", type=float, default=0.5)
    parser.add_argument("--zipf-seconds", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=400000, help="of the table that misses read, each once")
    parser.add_argument("--connections", type=int, help="of sluice to the database, in place of its default")
    parser.add_argument("--sluice", default=rig.SLUICE)
    parser.add_argument("--load", help="read_load; beside sluice, in bench/")
    parser.add_argument("--json", help="write every round here")
    parser.add_argument("--markdown", help="put the tables into this file (bench/results.md)")
    arguments = parser.parse_args()
    arguments.clients = [int(count) for count in arguments.clients.split(",")]
    arguments.load = os.path.abspath(arguments.load or os.path.join(os.path.dirname(arguments.sluice), "bench", "read_load"))
    parts, kinds = arguments.parts.split(","), arguments.databases.split(",")
    if unknown := set(parts) - {"hits", "misses", "zipf"}:
        rig.fail(f"no such part: {', '.join(unknown)}")
    programs = databases.require(kinds) if {"misses", "zipf"} & set(parts) else []
    rig.require("redis-server", "redis-cli", "redis-benchmark", arguments.sluice, arguments.load, *programs)
    where, report = rig.machine(), Report()
    try:
        if "hits" in parts:
            run_hits(arguments, report)
        for part, run in (("misses", run_misses), ("zipf", run_zipf)):
            for kind in kinds if part in parts else []:
                run(kind, arguments, report)
    finally:  # Interrupted, it reports what is done.
        for goal in report.goals:
            print("{}: {} {}, measured {} ({}) {}".format(*goal))
        if arguments.json:
            with open(arguments.json, "w", encoding="utf-8") as file:
                json.dump(report.kept, file, indent=1)
        if arguments.markdown:
            report.write(arguments.markdown, arguments, where)


if __name__ == "__main__":
    main()
