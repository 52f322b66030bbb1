#!/usr/bin/env python3
"""side_by_side: direct Redis, sluice, twemproxy and HAProxy under redis-benchmark, in interleaved rounds of one run.

    bench/side_by_side.py [--set quick|goals|full | --cells get:64:50:1,...] [--rounds 5] [--seconds 1] [--goals]
                          [--without twemproxy,haproxy] [--json FILE] [--markdown FILE]
    bench/side_by_side.py --collapse 40 [--others]

A cell is COMMAND:VALUE_BYTES:CLIENTS:PIPELINE, and perhaps :unix, :crowd or :policies. --goals judges the figures
against the goals below; --collapse counts the rounds in which batches fell apart. Starts a Redis and proxies of its own
and stops them at the end. Python 3.9+, standard library only. bench/README.md explains cells and columns.
"""
import argparse
import json
import sys

sys.dont_write_bytecode = True
import rig  # noqa: E402  pylint: disable=wrong-import-position

IN_FLIGHT_MAX = 256 << 20  # bytes of values under way at once; cells beyond it measure memory, not proxies


def grid(sizes, clients, pipelines):
    return [f"{command}:{size}:{count}:{pipeline}" for size in sizes for count in clients for pipeline in pipelines
            for command in ("get", "set") if size * count * pipeline <= IN_FLIGHT_MAX]


SPECIAL = [f"{command}:64:{rest}" for rest in ("50:1:unix", "50:1:policies", "50:16:policies", "50:1:crowd")
           for command in ("get", "set")]
SETS = {
    "quick": ["get:64:50:1", "get:64:50:16", "get:64:50:1:policies"],
    "goals": grid([64], [50], [1, 16, 64]) + grid([64], [500], [1, 16]) + grid([64], [5000], [1])
    + grid([65536], [50], [1]) + grid([64], [1], [1]) + SPECIAL,
    "full": grid([64, 1024, 65536], [1, 50, 500, 5000], [1, 16, 64]) + SPECIAL,
}

# Of cells VALUE_BYTES:CLIENTS:PIPELINE[:VARIANT], GET and SET alike: a figure of TARGET divided by the same figure of
# REFERENCE, and its bound.
GOALS = [
    ("64:50:1", "rps", "sluice", "direct", ">=", 1.0),
    ("64:50:1", "cpu", "sluice", "twemproxy", "<=", 0.95),
    ("64:50:1", "cpu", "sluice", "haproxy", "<=", 0.62),
    ("64:50:16", "rps", "sluice", "direct", ">=", 0.70),
    ("64:50:16", "rps", "sluice", "twemproxy", ">=", 1.35),
    ("64:50:16", "cpu", "sluice", "twemproxy", "<=", 0.52),
    ("64:50:16", "cpu", "sluice", "haproxy", "<=", 0.8),
    ("64:50:64", "rps", "sluice", "direct", ">=", 1.0),
    ("64:50:64", "cpu", "sluice", "twemproxy", "<=", 0.15),
    ("64:50:64", "cpu", "sluice", "haproxy", "<=", 1.3),
    ("64:500:1", "rps", "sluice", "direct", ">=", 1.05),
    ("64:500:1", "cpu", "sluice", "twemproxy", "<=", 0.95),
    ("64:500:16", "rps", "sluice", "direct", ">=", 1.0),
    ("64:500:16", "cpu", "sluice", "twemproxy", "<=", 0.19),
    ("64:5000:1", "rps", "sluice", "direct", ">=", 1.0),
    ("64:5000:1", "cpu", "sluice", "twemproxy", "<=", 0.75),
    ("65536:50:1", "rps", "sluice", "twemproxy", ">=", 1.0),
    ("65536:50:1", "rps", "sluice", "haproxy", ">=", 1.0),
    ("65536:50:1", "cpu", "sluice", "twemproxy", "<=", 0.95),
    ("64:1:1", "rps", "sluice", "direct", ">=", 0.64),
    ("64:1:1", "p50", "sluice", "twemproxy", "<", 1.0),
    ("64:1:1", "p50", "sluice", "haproxy", "<", 1.0),
    ("64:1:1", "cpu", "sluice", "twemproxy", "<=", 0.9),
    ("64:1:1", "cpu", "sluice", "haproxy", "<=", 0.9),
    ("64:50:1:unix", "rps", "sluice/unix", "direct", ">=", 1.35),
    ("64:50:1:policies", "cpu", "sluice+policies", "sluice", "<=", 1.03),
    ("64:50:1:policies", "rps", "sluice+policies", "sluice", ">=", 0.97),
    ("64:50:16:policies", "cpu", "sluice+policies", "sluice", "<=", 1.12),
    ("64:50:16:policies", "rps", "sluice+policies", "sluice", ">=", 0.88),
]
FIGURES = {"rps": "throughput", "cpu": "proxy CPU per request", "p50": "median latency"}


class Targets:
    """Starts what a variant of cells compares when it is first asked for it."""

    def __init__(self, bench, without):
        self.bench, self.without, self.started = bench, without, {}

    def of(self, cell):
        names = {"": ["direct", "sluice", "twemproxy", "haproxy"],
                 "crowd": ["direct", "sluice", "twemproxy", "haproxy"],
                 "unix": ["direct", "direct/unix", "sluice", "sluice/unix"],
                 "policies": ["direct", "sluice", "sluice+policies"]}[cell.variant]
        return [self.get(name) for name in names if name not in self.without]

    def get(self, name):
        if name not in self.started:
            start = {"direct": lambda: self.bench.redis,
                     "direct/unix": self.bench.direct_unix,
                     "sluice": self.bench.start_sluice,
                     "sluice/unix": lambda: self.bench.start_sluice("sluice-unix", unix=True),
                     "sluice+policies": lambda: self.bench.start_sluice("sluice+policies", policies=True),
                     "twemproxy": self.bench.start_twemproxy,
                     "haproxy": self.bench.start_haproxy}[name]
            server = start()
            server.name = name
            server.wait_ready()
            self.started[name] = server
        return self.started[name]


def measure(server, redis, cell, requests):
    own, behind = server.cpu_seconds(), redis.cpu_seconds()
    reads, _ = redis.reads_and_writes()
    bystanders = rig.Bystanders(server, redis)
    rps, p50, p99 = rig.benchmark(server, cell, requests)
    reads = redis.reads_and_writes()[0] - reads
    return {"rps": rps, "p50": p50, "p99": p99,
            "cpu": 0.0 if server.pid == redis.pid else (server.cpu_seconds() - own) / requests * 1e6,
            "redis_cpu": (redis.cpu_seconds() - behind) / requests * 1e6, "batch": requests / max(1, reads),
            "others": bystanders.share()}


def measure_with_crowd(server, bench, cell, requests):
    if cell.variant != "crowd":
        return measure(server, bench.redis, cell, requests)
    # HAProxy opens a connection to Redis for each of the crowd, and so has room for fewer.
    size = min(rig.CROWD, bench.clients_max - cell.clients - 100) if server.name == "haproxy" else rig.CROWD
    with rig.Crowd(server, size):
        return measure(server, bench.redis, cell, requests)


def requests_of(cell, bench, seconds):
    """How many take about `seconds` at direct Redis' speed, and every client several turns."""
    least = max(1000, cell.clients * cell.pipeline * 4)
    rps, _, _ = rig.benchmark(bench.redis, cell, least)
    rps, _, _ = rig.benchmark(bench.redis, cell, max(least, int(rps * 0.3)))
    return max(least, int(rps * seconds))


def run_cell(cell, servers, bench, arguments):
    bench.fill(cell)
    requests = requests_of(cell, bench, arguments.seconds)
    for server in servers:
        rig.benchmark(server, cell, max(1000, requests // 5))
    rounds = []
    for number in range(arguments.rounds):
        turn = number % len(servers)
        rounds.append({server.name: measure_with_crowd(server, bench, cell, requests)
                       for server in servers[turn:] + servers[:turn]})
    return requests, rounds


def summarise(cell, servers, rounds):
    rows = []
    for server in servers:
        samples = [results[server.name] for results in rounds]
        ratios = [results[server.name]["rps"] / results["direct"]["rps"] for results in rounds]
        row = {key: rig.median(sample[key] for sample in samples) for key in samples[0]}
        row.update(cell=cell.name, target=server.name, ratio=rig.median(ratios), ratio_min=min(ratios),
                   ratio_max=max(ratios))
        rows.append(row)
    return rows


HEAD = ["cell", "target", "ops/s", "ratio", "min-max", "cpu us/rq", "redis us", "batch", "p50 ms", "p99 ms", "others"]
LAYOUT = "{:<28} {:<16} {:>9} {:>6} {:>11} {:>9} {:>8} {:>6} {:>8} {:>8} {:>7}"


def columns(row):
    return [row["cell"], row["target"], f"{row['rps']:.0f}", f"{row['ratio']:.2f}",
            f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}",
            "" if row["target"].startswith("direct") else f"{row['cpu']:.2f}", f"{row['redis_cpu']:.2f}",
            f"{row['batch']:.1f}", f"{row['p50']:.3f}", f"{row['p99']:.3f}", f"{row['others']:.0%}"]


# Goals.

def judge(kept):
    """One row for each goal that the measured cells have figures for."""
    rows = []
    for suffix, figure, target, reference, relation, bound in GOALS:
        for measured in kept:
            if measured["text"].split(":", 1)[1] != suffix or reference not in measured["rounds"][0]:
                continue
            ratios = sorted(results[target][figure] / results[reference][figure] for results in measured["rounds"]
                            if results[reference][figure] > 0)
            ratio = rig.median(ratios)
            met = ratio >= bound if relation == ">=" else ratio <= bound if relation == "<=" else ratio < bound
            rows.append([measured["cell"], FIGURES[figure], f"{target} / {reference}", f"{relation} {bound:.2f}",
                         f"{ratio:.2f}", f"{ratios[0]:.2f}-{ratios[-1]:.2f}", "met" if met else "NOT MET"])
    return rows


GOAL_HEAD = ["cell", "figure", "of", "goal", "measured", "min-max", ""]


def show_goals(rows):
    layout = "{:<28} {:<22} {:<28} {:>8} {:>9} {:>11}  {}"
    print(layout.format(*GOAL_HEAD))
    for row in rows:
        print(layout.format(*row))
    print(f"{sum(row[-1] == 'met' for row in rows)} of {len(rows)} goals met")


# Batch collapse.

COLLAPSE_CELLS = ("get:64:50:1", "get:1024:50:1")


def collapsed(sample, good, batch):
    """Whether requests were forwarded one by one: Redis read fewer than two at a time; or, for a part of the round, half
    of the usual `batch`, and spent half as much CPU again on each as in the better half of the rounds."""
    return sample["batch"] < 2 or (sample["redis_cpu"] > 1.5 * good and sample["batch"] < 0.5 * batch)


def count_collapses(bench, targets, arguments):
    names = ["sluice"] + (["twemproxy"] if arguments.others else [])
    rows = []
    for text in COLLAPSE_CELLS:
        cell = rig.Cell(text)
        bench.fill(cell)
        requests = requests_of(cell, bench, 0.4)
        samples = {name: [] for name in names}
        for name in names:
            rig.benchmark(targets.get(name), cell, requests)
        for _ in range(arguments.collapse):
            for name in names:
                samples[name].append(measure(targets.get(name), bench.redis, cell, requests))
        for name in names:
            costs = sorted(sample["redis_cpu"] for sample in samples[name])
            good = rig.median(costs[:max(1, len(costs) // 2)])
            batches = [sample["batch"] for sample in samples[name]]
            bad = sum(collapsed(sample, good, rig.median(batches)) for sample in samples[name])
            others = rig.median(sample["others"] for sample in samples[name])
            rates = [sample["rps"] for sample in samples[name]]
            rows.append([cell.name, name, f"{bad} of {len(costs)}", f"{good:.2f}", f"{costs[-1]:.2f}",
                         f"{rig.median(batches):.1f}", f"{min(batches):.1f}", f"{rig.median(rates):.0f}",
                         f"{min(rates):.0f}", f"{others:.0%}"])
            if len(rows) == 1:
                print(COLLAPSE_LAYOUT.format(*COLLAPSE_HEAD))
            print(COLLAPSE_LAYOUT.format(*rows[-1]), flush=True)
    return rows


COLLAPSE_HEAD = ["cell", "target", "collapsed", "redis us, good", "worst", "batch", "least", "ops/s", "least", "others"]
COLLAPSE_LAYOUT = "{:<18} {:<12} {:>10} {:>15} {:>7} {:>7} {:>7} {:>9} {:>9} {:>7}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement at direct Redis' speed")
    parser.add_argument("--set", choices=SETS, help="named cells; quick, with --goals goals")
    parser.add_argument("--cells", help="in place of --set")
    parser.add_argument("--goals", action="store_true", help="print the goals and whether they are met")
    parser.add_argument("--collapse", type=int, metavar="N", help="only: N short rounds of each cell that may collapse")
    parser.add_argument("--others", action="store_true", help="twemproxy too with --collapse")
    parser.add_argument("--without", default="", help="comma-separated targets to leave out: twemproxy, haproxy")
    parser.add_argument("--sluice", default=rig.SLUICE)
    parser.add_argument("--json", help="write every round here")
    parser.add_argument("--markdown", help="put the tables into this file (bench/results.md)")
    arguments = parser.parse_args()
    named = SETS[arguments.set or ("goals" if arguments.goals else "quick")]
    cells = [rig.Cell(text) for text in (arguments.cells.split(",") if arguments.cells else named)]
    without = set(filter(None, arguments.without.split(",")))
    others = [program for name, program in (("twemproxy", "nutcracker"), ("haproxy", "haproxy"))
              if name not in without and (arguments.collapse is None or name == "twemproxy" and arguments.others)]
    rig.require("redis-server", "redis-benchmark", "redis-cli", arguments.sluice, *others)
    where = rig.machine() + "."
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        targets = Targets(bench, without)
        if arguments.collapse is not None:
            rows = count_collapses(bench, targets, arguments)
            if arguments.markdown:
                rig.write_section(arguments.markdown, "Batch collapse",
                                  where + "\n\n" + rig.markdown_table(COLLAPSE_HEAD, rows))
            return
        compare(bench, targets, cells, arguments, where)


def compare(bench, targets, cells, arguments, where):
    kept, table = [], []
    print(LAYOUT.format(*HEAD), flush=True)
    try:
        for cell in cells:
            servers = targets.of(cell)
            requests, rounds = run_cell(cell, servers, bench, arguments)
            kept.append({"cell": cell.name, "text": cell.text, "requests": requests, "rounds": rounds})
            for row in summarise(cell, servers, rounds):
                table.append(columns(row))
                print(LAYOUT.format(*table[-1]), flush=True)
            print(flush=True)
    finally:  # Interrupted, it reports the cells that are done.
        report(kept, table, arguments, where)


def report(kept, table, arguments, where):
    goals = judge(kept) if arguments.goals else []
    if goals:
        show_goals(goals)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
    if arguments.markdown:
        text = f"{where} Medians of {arguments.rounds} rounds.\n\n"
        if goals:
            rig.write_section(arguments.markdown, "Goals", text + rig.markdown_table(GOAL_HEAD, goals))
        rig.write_section(arguments.markdown, "Side by side", text + rig.markdown_table(HEAD, table))


if __name__ == "__main__":
    main()
