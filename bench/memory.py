#!/usr/bin/env python3
"""memory: resident memory of sluice: idle, under load, with an idle crowd, and after bursts; against the goals.

    bench/memory.py [--sluice FILE] [--crowd 10000] [--large 67108864] [--markdown FILE]

Each row has a sluice of its own. Python 3.9+, standard library only. bench/README.md explains the rows.
"""
import argparse
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
GET = b"*2\r\n$3\r\nGET\r\n$14\r\nkey:0000000001\r\n"


def fresh(bench, name):
    """A sluice that has done a little of everything, so that what comes once and stays is there."""
    server = bench.start_sluice(name)
    server.wait_ready()
    for cell in ("set:64:50:1", "get:64:50:16"):
        rig.benchmark(server, rig.Cell(cell), 10000)
    server.wait_quiet()
    time.sleep(1)
    return server


def settled(server, goal, seconds):
    """Resident bytes once they are at most `goal`, or after `seconds`."""
    end = time.monotonic() + seconds
    while server.resident_bytes() > goal and time.monotonic() < end:
        time.sleep(0.1)
    return server.resident_bytes()


def peak_under_load(server, cell, seconds=2):
    """The most resident memory while redis-benchmark runs."""
    rps, _, _ = rig.benchmark(server, cell, 50000)
    load = subprocess.Popen(rig.benchmark_command(server, cell, int(rps * seconds)), stdout=subprocess.DEVNULL)
    peak = 0
    while load.poll() is None:
        peak = max(peak, server.resident_bytes())
        time.sleep(0.01)
    return peak


def mib(count):
    return f"{count / MIB:.1f} MiB"


def idle(bench, _):
    server = bench.start_sluice("sluice-idle")
    server.wait_ready()
    server.wait_quiet()
    memory = server.memory()
    private = memory["Private_Clean"] + memory["Private_Dirty"]
    bench.remove(server)
    return [("idle", f"{mib(memory['Rss'])}, private {mib(private)}", "", True)]


def load(bench, _):
    rows = []
    for text in ("get:64:500:16", "set:64:500:16"):
        server = bench.start_sluice("sluice-load")
        server.wait_ready()
        server.wait_quiet()
        before = server.resident_bytes()
        growth = peak_under_load(server, rig.Cell(text)) - before
        rows.append((f"growth from idle, {rig.Cell(text).name}", mib(growth), "at most 8 MiB", growth <= 8 * MIB))
        bench.remove(server)
    return rows


def crowd(bench, arguments):
    server = fresh(bench, "sluice-crowd")
    before = server.resident_bytes()
    with rig.Crowd(server, arguments.crowd, command=GET):
        time.sleep(1)
        each = (server.resident_bytes() - before) / arguments.crowd / 1024
    after = settled(server, before * 1.2, arguments.patience)
    bench.remove(server)
    return [(f"each of {arguments.crowd} idle clients that sent one command", f"{each:.2f} KiB", "at most 4 KiB", each <= 4),
            returned(f"after {arguments.crowd} clients left", before, after)]


def burst(bench, arguments):
    """Every client of a crowd sends a pipeline at once."""
    server = fresh(bench, "sluice-burst")
    before = server.resident_bytes()
    with rig.Crowd(server, arguments.crowd) as clients:
        for connection in clients.connections:
            connection.sendall(GET * 64)
        peak = server.resident_bytes()
        for connection in clients.connections:
            got = 0
            while got < 64 * 5:  # "$-1\r\n"
                got += len(connection.recv(65536))
        peak = max(peak, server.resident_bytes())
        time.sleep(1)
        kept = server.resident_bytes()
    after = settled(server, before * 1.2, arguments.patience)
    bench.remove(server)
    return [(f"{arguments.crowd} clients with a pipeline of 64 each: most, then silent", f"{mib(peak)}, {mib(kept)}", "", True),
            returned("after they left", before, after)]


def large(bench, arguments):
    rows = []
    value = b"x" * arguments.large
    for clients in (1, 4):
        server = fresh(bench, f"sluice-large-{clients}")
        before = server.resident_bytes()
        connections = [server.connect() for _ in range(clients)]
        name = f"{clients} x {arguments.large / MIB:g} MiB"
        peaks = []
        for verb in ("SET", "GET"):
            for number, connection in enumerate(connections):
                key = b"large:%d" % number
                if verb == "SET":
                    connection.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(key), key, len(value)))
                    connection.sendall(value)
                    connection.sendall(b"\r\n")
                else:
                    connection.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))
            peaks.append(server.resident_bytes())
            size = 5 if verb == "SET" else len(b"$%d\r\n" % len(value)) + len(value) + 2
            for connection in connections:
                got = 0
                while got < size:
                    got += len(connection.recv(1 << 20)) or rig.fail("sluice closed a connection")
                    peaks[-1] = max(peaks[-1], server.resident_bytes())
            rows.append((f"{verb} of {name}: most", mib(peaks[-1]), "", True))
            rows.append(returned(f"after {verb} of {name}", before, settled(server, before * 1.2, arguments.patience)))
        for connection in connections:
            connection.close()
        bench.flush()
        bench.remove(server)
    return rows


def returned(name, before, after):
    return (name, f"{mib(before)} -> {mib(after)} ({(after / before - 1) * 100:+.0f} %)", "within 20 %", after <= before * 1.2)


PARTS = {"idle": idle, "load": load, "crowd": crowd, "burst": burst, "large": large}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", default=rig.SLUICE)
    parser.add_argument("--parts", default=",".join(PARTS), help=", ".join(PARTS))
    parser.add_argument("--crowd", type=int, default=rig.CROWD, help="clients of a crowd")
    parser.add_argument("--large", type=int, default=64 << 20, help="bytes of a large value")
    parser.add_argument("--patience", type=float, default=10, help="seconds that memory may take to come back")
    parser.add_argument("--markdown", help="put the table into this file (bench/results.md)")
    arguments = parser.parse_args()
    rig.require("redis-server", "redis-benchmark", "redis-cli", arguments.sluice)
    unknown = set(arguments.parts.split(",")) - set(PARTS)
    if unknown:
        rig.fail(f"parts are {', '.join(PARTS)}")
    where, rows = rig.machine(), []
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        for part in arguments.parts.split(","):
            for name, figure, goal, met in PARTS[part](bench, arguments):
                rows.append([name, figure, goal, "" if not goal else "met" if met else "NOT MET"])
                print(f"{name:<62} {figure:<30} {goal:<14} {rows[-1][-1]}", flush=True)
    if arguments.markdown:
        rig.write_section(arguments.markdown, "Memory",
                          where + ".\n\n" + rig.markdown_table(["resident memory", "measured", "goal", ""], rows))


if __name__ == "__main__":
    main()
