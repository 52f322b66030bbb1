#!/usr/bin/env python3
"""counters: what one forwarded request costs the proxy in things that can be counted.

    bench/counters.py [--sluice FILE] [--cells get:64:50:1,...] [--others] [--markdown FILE] [--profile FILE]
    bench/counters.py --check [--sluice FILE]

System calls, context switches and CPU come from a run at full speed, instructions from a run under callgrind,
allocations from a run with a counting malloc. --check only looks whether forwarded commands allocate, and fails if so.
Python 3.9+, standard library only. bench/README.md explains the columns.
"""
import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402  pylint: disable=wrong-import-position

CELLS = "get:64:1:1,get:64:50:1,set:64:50:1,get:64:50:16,set:64:50:16,get:64:50:64,get:64:500:16,get:65536:50:1"
CALLS = ("read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg", "splice", "epoll_wait",
         "epoll_pwait", "epoll_ctl", "io_uring_enter", "futex", "madvise", "mmap", "munmap", "brk", "accept4", "close")
PROFILED = ("get:64:50:1", "set:64:50:1", "get:64:50:16")
HERE = os.path.dirname(os.path.abspath(__file__))


# System calls, context switches and CPU: one run of redis-benchmark with kernel counters attached to the proxy.

def perf_counts(server, cell, requests):
    """Counts of system calls by name, from tracepoints: they cost the proxy next to nothing. None when not allowed."""
    events = ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{call}" for call in CALLS]
    output = os.path.join(os.path.dirname(server.log), "perf.csv")
    perf = ["perf", "stat", "-x", ",", "-o", output, "-e", ",".join(events), "-p", str(server.pid), "--"]
    try:
        rig.benchmark(server, cell, requests, before=perf)
        with open(output, encoding="ascii") as file:
            rows = [line.split(",") for line in file if line.count(",") > 3]
    except OSError:
        return None
    counts = {row[2].rsplit("_enter_", 1)[-1]: int(row[0]) for row in rows if row[0].isdigit()}
    total = next((int(row[0]) for row in rows if row[2] == events[0] and row[0].isdigit()), None)
    if total is None:
        return None
    counts = {call: counts.get(call, 0) for call in CALLS}
    counts["other"] = total - sum(counts.values())
    return counts


def strace_counts(server, cell, requests):
    """The same from strace, which slows the proxy down several times: batches grow, so fewer calls per request."""
    output = os.path.join(os.path.dirname(server.log), "strace.txt")
    with subprocess.Popen(["strace", "-c", "-f", "-q", "-o", output, "-p", str(server.pid)]) as tracer:
        end = time.monotonic() + 10
        while not traced(server.pid) and time.monotonic() < end:
            time.sleep(0.02)
        rig.benchmark(server, cell, requests)
        tracer.terminate()
    counts = {}
    with open(output, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
                counts[words[-1]] = int(words[3])
    return counts


def traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return "TracerPid:\t0\n" not in file.read()


def full_speed(bench, server, cell, arguments):
    rig.benchmark(server, cell, max(2000, arguments.requests // 5))
    switches, cpu = server.context_switches(), server.cpu_seconds()
    reads, _ = bench.redis.reads_and_writes()
    requests = scaled(arguments.requests, cell)
    calls = None if arguments.strace else perf_counts(server, cell, requests)
    behind, _ = bench.redis.reads_and_writes()
    found = {"switches": (server.context_switches() - switches) / requests,
             "cpu": (server.cpu_seconds() - cpu) / requests * 1e6,
             "batch": requests / max(1, behind - reads)}
    if calls is None:
        calls = strace_counts(server, cell, requests)
    found["calls"] = {call: count / requests for call, count in calls.items() if count / requests >= 0.005}
    found["total"] = sum(calls.values()) / requests
    return found


def scaled(requests, cell):
    """Fewer of large values."""
    return max(cell.clients * cell.pipeline * 4, requests // (1 + cell.size // 4096))


# Instructions: two runs of different length under callgrind; what they share (connecting, closing) cancels out.

def under_callgrind(bench, name="sluice-callgrind", policies=False):
    out = os.path.join(bench.folder, name + ".out")
    server = bench.start_sluice(name, policies=policies,
                                before=["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
    server.wait_ready()
    return server, out


def instructions(server, out, cell, requests):
    """User-space instructions per request, and the file that holds the profile of the longer run."""
    few, many = scaled(requests // 4, cell), scaled(requests, cell) + cell.clients * cell.pipeline * 4
    rig.benchmark(server, cell, few)
    control(server, "--zero")
    totals = []
    for count in (few, many):
        rig.benchmark(server, cell, count)
        server.wait_quiet()
        control(server, "--dump")
        last = max((os.path.join(os.path.dirname(out), file) for file in os.listdir(os.path.dirname(out))
                    if file.startswith(os.path.basename(out) + ".")), key=lambda file: int(file.rsplit(".", 1)[1]))
        with open(last, encoding="utf-8", errors="replace") as file:
            totals.append(int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE).group(1)))
    return (totals[1] - totals[0]) / (many - few), last


def control(server, command):
    done = subprocess.run(["callgrind_control", command, str(server.pid)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        rig.fail(f"callgrind_control {command}: {done.stdout}{done.stderr}")


def profile(path, inclusive, lines=25):
    """The functions that cost most, without any path of this machine."""
    done = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100"] + ["--inclusive=yes"] * inclusive + [path],
                          capture_output=True, text=True, check=False)
    shares = {}
    for line in done.stdout.splitlines():
        found = re.match(r"\s*[\d,]+ \(\s*([\d.]+)%\)\s+(\S*?):(.*?)(?: \[(.*)\])?$", line)
        if found and "PROGRAM TOTALS" not in line:
            name = plain_name(found.group(3))
            if name.startswith("0x"):
                name += f" [{os.path.basename(found.group(4) or '')}]"
            share = float(found.group(1))
            if share > 99 and not inclusive:  # Still running at the dump: credited with everything.
                continue
            # A function that was inlined from several files has a line for each.
            shares[name] = max(shares.get(name, 0), share) if inclusive else shares.get(name, 0) + share
    rows = sorted(shares.items(), key=lambda item: -item[1])[:lines]
    return "\n".join(f"{share:6.2f} %  {name}" for name, share in rows)


def plain_name(name):
    name = re.sub(r"'\d+$| \[clone [^]]*\]", "", name)
    return re.sub(r"std::(?:__cxx11::)?basic_string(_view)?<char, std::char_traits<char>(?:, std::allocator<char>)? ?>",
                  r"std::string\1", name)


# Allocations.

def counted(bench, name="sluice-malloc", policies=False):
    """A sluice whose allocations are counted, and a function that tells how many there were."""
    library, numbers = os.path.join(bench.folder, "allocation_counter.so"), os.path.join(bench.folder, name + ".count")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("g++")
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-O2", "-D_GNU_SOURCE", "-fno-builtin", "-o", library,
                    os.path.join(HERE, "allocation_counter.c"), "-ldl"], check=True)
    preload = [path for path in linked(bench.sluice_program) if re.search(r"/lib(asan|tsan)\.so", path)] + [library]
    server = bench.start_sluice(name, policies=policies,
                                environment={"LD_PRELOAD": ":".join(preload), "ALLOCATION_COUNTER": numbers})
    server.wait_ready()

    def read():
        with open(numbers, "rb") as file:
            return struct.unpack("=Q", file.read(8))[0]

    if read() == 0:
        rig.fail("the allocations of sluice are not seen")
    return server, read


def linked(program):
    """The paths of the shared libraries of a program."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"=> (/\S+)", done.stdout)


def background_rate(count):
    """Allocations per second of a process that has nothing to do: its timers'."""
    before, began = count(), time.monotonic()
    time.sleep(1)
    return (count() - before) / (time.monotonic() - began)


def allocations(server, count, cell, requests):
    """Per request, beyond those of timers; those of connecting and closing cancel out."""
    few, many = scaled(requests // 4, cell), scaled(requests, cell) + cell.clients * cell.pipeline * 4
    rig.benchmark(server, cell, many)
    rate, totals = background_rate(count), []
    for number in (few, many):
        before, began = count(), time.monotonic()
        rig.benchmark(server, cell, number)
        totals.append(count() - before - rate * (time.monotonic() - began))
    return max(0.0, (totals[1] - totals[0]) / (many - few))


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def exchange(connections, request, reply, rounds):
    """Every connection sends `request` and takes `reply`, all of them at once, `rounds` times."""
    for _ in range(rounds):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            got = 0
            while got < len(reply):
                piece = connection.recv(len(reply) - got)
                if not piece:
                    rig.fail("sluice closed a connection")
                got += len(piece)


def check(arguments):
    """Allocations of forwarded commands once every buffer has its size: there must be none."""
    value, failed = b"x" * 64, 0
    shapes = [("SET", resp(b"SET", b"key:1", value), b"+OK\r\n"),
              ("GET", resp(b"GET", b"key:1"), b"$64\r\n" + value + b"\r\n"),
              ("GET of an absent key", resp(b"GET", b"key:none"), b"$-1\r\n"),
              ("SET of 1 KiB", resp(b"SET", b"key:3", value * 16), b"+OK\r\n"),
              ("MGET of 3 keys", resp(b"MGET", b"key:1", b"key:none", b"key:1"),
               b"*3\r\n" + (b"$64\r\n" + value + b"\r\n$-1\r\n$64\r\n" + value + b"\r\n"))]
    with rig.Rig(arguments.sluice) as bench:
        bench.wait_ready()
        for policies in (False, True):
            server, count = counted(bench, "sluice-policies" if policies else "sluice", policies)
            rate = background_rate(count)
            for clients, pipeline in ((1, 1), (1, 16), (8, 1), (8, 16)):
                connections, commands = [server.connect() for _ in range(clients)], 1024
                rounds = commands // (clients * pipeline)
                for name, request, reply in shapes:
                    exchange(connections, request * pipeline, reply * pipeline, rounds)
                    beyond, tries = 1, 5
                    while beyond > 0 and tries > 0:
                        before, began, tries = count(), time.monotonic(), tries - 1
                        exchange(connections, request * pipeline, reply * pipeline, rounds)
                        # Timers have allocated meanwhile, at about their rate; now and then they do more.
                        beyond = count() - before - 5 - 1.5 * rate * (time.monotonic() - began)
                    if beyond > 0:
                        failed += 1
                        print(f"{name} {clients}x{pipeline}{' with policies' if policies else ''}: "
                              f"{beyond / commands:.4f} allocations per command")
                for connection in connections:
                    connection.close()
            bench.remove(server)
    print("counters: forwarded commands allocate" if failed else "counters: no allocation per forwarded command")
    return 1 if failed else 0


# The report.

def measure(bench, arguments, rows, profiles):
    servers = [bench.start_sluice(), bench.start_sluice("sluice+policies", policies=True)]
    if arguments.others:
        servers += [bench.start_twemproxy(), bench.start_haproxy()]
    bench.wait_ready()
    slow, out = under_callgrind(bench)
    slow_policies, out_policies = under_callgrind(bench, "sluice-callgrind-policies", policies=True)
    malloc, count = counted(bench)
    for cell in [rig.Cell(text) for text in arguments.cells.split(",")]:
        bench.fill(cell)
        for server in servers:
            row = {"cell": cell.name, "target": server.name, **full_speed(bench, server, cell, arguments)}
            if server.name == "sluice":
                row["allocations"] = allocations(malloc, count, cell, arguments.requests)
                row["instructions"], last = instructions(slow, out, cell, arguments.requests // 4)
                if cell.text in PROFILED:
                    profiles.append((cell, row["instructions"], profile(last, False), profile(last, True)))
            elif server.name == "sluice+policies":
                row["instructions"], _ = instructions(slow_policies, out_policies, cell, arguments.requests // 4)
            rows.append(row)
            show(row, first=len(rows) == 1)


def columns(row):
    calls = sorted(row["calls"].items(), key=lambda item: -item[1])
    return [row["cell"], row["target"], f"{row['total']:.2f}", f"{row['batch']:.1f}", f"{row['switches']:.3f}",
            f"{row['cpu']:.2f}", f"{row['instructions']:.0f}" if "instructions" in row else "",
            f"{row['allocations']:.3f}" if "allocations" in row else "",
            " ".join(f"{call} {count:.2f}" for call, count in calls)]


HEAD = ["cell", "target", "syscalls", "batch", "switches", "cpu us", "instructions", "allocations", "system calls by name"]


def show(row, first):
    layout = "{:<18} {:<16} {:>8} {:>6} {:>9} {:>7} {:>12} {:>11}  {}"
    if first:
        print(layout.format(*HEAD))
    print(layout.format(*columns(row)), flush=True)


def write_profile(path, profiles):
    with open(path, "w", encoding="utf-8") as file:
        file.write("What the user-space instructions of a forwarded request are spent on (callgrind; bench/counters.py\n"
                   "--profile writes this file). Shares of all instructions, connecting and closing included.\n")
        for cell, count, own, inclusive in profiles:
            file.write(f"\n{cell.name}: {count:.0f} instructions per request\n\nown\n{own}\n\nwith callees\n{inclusive}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", default=rig.SLUICE)
    parser.add_argument("--cells", default=CELLS)
    parser.add_argument("--requests", type=int, default=200000, help="of a run at full speed; a quarter under callgrind")
    parser.add_argument("--others", action="store_true", help="system calls of twemproxy and HAProxy as well")
    parser.add_argument("--strace", action="store_true", help="count system calls with strace even if perf may")
    parser.add_argument("--check", action="store_true", help="only: forwarded commands must not allocate")
    parser.add_argument("--markdown", help="put the table into this file (bench/results.md)")
    parser.add_argument("--profile", help="write the functions that cost most here (bench/profile.txt)")
    arguments = parser.parse_args()
    rig.require("redis-server", "redis-benchmark", "redis-cli", arguments.sluice)
    if arguments.check:
        sys.exit(check(arguments))
    rig.require("valgrind", "callgrind_control", "callgrind_annotate",
                "strace" if arguments.strace or shutil.which("perf") is None else "perf",
                *(("nutcracker", "haproxy") if arguments.others else ()))
    where, rows, profiles = rig.machine() + ".\n\n", [], []
    try:
        with rig.Rig(arguments.sluice) as bench:
            measure(bench, arguments, rows, profiles)
    finally:  # Interrupted, it reports what is done.
        if arguments.markdown and rows:
            rig.write_section(arguments.markdown, "Counters per request",
                              where + rig.markdown_table(HEAD, [columns(row) for row in rows]))
        if arguments.profile and profiles:
            write_profile(arguments.profile, profiles)


if __name__ == "__main__":
    main()
