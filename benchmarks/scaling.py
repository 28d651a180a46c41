"""How far it would go on more cores than there are here: `python benchmarks/scaling.py [--write]`.

It measures parts on this machine and computes the rest; `--write` puts the tables into docs/scaling.md.

Many agents: the steps a second of one agent on one thread, and of as many processes as there are cores, which
send each other nothing.

One agent on ranks: the time of an iteration of one process on one thread, T(1), and of two ranks, T(2); how
many messages there are in it, M, and how many bytes all ranks send together, G; and how long a message of gloo
takes on this machine, `a` for an empty one and 1 / `b` for each byte. What is not shared, S, follows from

    T(R) = S + (T(1) - S) / R + M * rounds(R) * latency + G / bandwidth

at R = 2, with a and b. A gather among R ranks takes R - 1 rounds where each sends to its neighbour, as gloo does,
and log2(R) in a tree. Then it is computed for other R, latencies and bandwidths.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
from many import rate, start
from ppo_runs import RUNS, Run
from ranks import ALGORITHMS, measured

DOCUMENT = Path(__file__).parent.parent / "docs" / "scaling.md"
MARKS = "<!-- begin: benchmarks/scaling.py -->\n", "<!-- end -->\n"
RANKS = (1, 2, 4, 16, 64, 256, 1024)
NETWORKS = {  # latency of a message in seconds, bytes a second
    "one machine": (10e-6, 5e9),
    "InfiniBand": (5e-6, 12e9),
    "10 Gbit Ethernet": (50e-6, 1.2e9),
}
ROWS = (("PPO, 4 epochs of 4", 64), ("PPO, 4 epochs of 4", 256), ("REINFORCE", 64), ("TRPO", 256))
SIZES = (8, 1 << 20)  # bytes of the messages whose time is measured


def message_seconds() -> tuple[float, float]:
    """Return what an empty message of gloo takes between two processes here, and each byte of a long one."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        port = 20_000 + os.getpid() % 20_000
        times = pool.starmap(_gather, [(rank, port) for rank in range(2)])[0]
    return times[0], max(times[1] - times[0], 0.0) / (2 * SIZES[1])


def _gather(rank: int, port: int) -> list[float]:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import fastpg

    communicator = fastpg.distributed.torch()
    medians = []
    for size in SIZES:
        send, receive = np.zeros(size, np.uint8), np.zeros((2, size), np.uint8)
        times = []
        for _ in range(200):
            begin = time.perf_counter()
            communicator.allgather(send, receive)
            times.append(time.perf_counter() - begin)
        medians.append(statistics.median(times))
    communicator.close()
    return medians


def agents(steps: int) -> list[str]:
    """Return the table of many agents."""
    cores = sorted(os.sched_getaffinity(0))
    lines = [
        "| run of PPO, 64-64 twice | steps/s, one core | steps/s, each of all | agents of 100,000 steps a core-minute | of 1,000 cores |"
    ]
    lines.append("|---|---|---|---|---|")
    for run in RUNS[:2]:
        options = Run(run.name, run.algorithm, f"ppo {run.options}")

        def program(core: int, options: Run = options) -> "subprocess.Popen[str]":
            return start(
                sys.executable, "fastpg_ppo.py", options, "--steps", str(steps), "--agents", "4", core=core
            )

        one = statistics.median(rate(program(cores[0])) for _ in range(3))
        each = statistics.median(rate(*map(program, cores)) for _ in range(3)) / len(cores)
        minute = each * 60 / 100_000
        lines.append(f"| {run.name} | {one:,.0f} | {each:,.0f} | {minute:.0f} | {1000 * minute:,.0f} |")
    return lines


def iterations(number: int) -> list[str]:
    """Return the tables of one agent on ranks."""
    latency, byte = message_seconds()
    lines = [
        f"A message of gloo between two processes here: {1e6 * latency:.0f} us, and {1e9 * byte:.2f} ns a byte.",
        "",
    ]
    lines.append("| algorithm | network | T(1), ms | T(2), ms | S, ms | messages | MB |")
    lines.append("|---|---|---|---|---|---|---|")
    parts = []
    for name, width in ROWS:
        one, two = measured(0, name, width, number), measured(2, name, width, number)
        whole, both, messages, sent = one["ms"] / 1e3, two["ms"] / 1e3, two["messages"], 2 * two["bytes"]
        alone = min(max(2 * (both - messages * latency - sent * byte) - whole, 0.0), whole)
        parts.append((name, width, whole, alone, messages, sent))
        lines.append(
            f"| {name} | {width}-{width} | {1e3 * whole:.1f} | {1e3 * both:.1f} | {1e3 * alone:.1f} | {messages:.0f} | {sent / 1e6:.2f} |"
        )
    for network, (wait, bandwidth) in NETWORKS.items():
        lines += [
            "",
            f"{network}: {1e6 * wait:.0f} us, {bandwidth / 1e9:.1f} GB/s. Milliseconds of an iteration; in a ring, and in a tree:",
            "",
        ]
        lines.append("| algorithm | network | " + " | ".join(f"{ranks} ranks" for ranks in RANKS) + " |")
        lines.append("|---" * (2 + len(RANKS)) + "|")
        for name, width, whole, alone, messages, sent in parts:
            cells = []
            for ranks in RANKS:
                fixed = alone + (whole - alone) / ranks + (ranks > 1) * sent / bandwidth
                ring, tree = (messages * rounds * wait for rounds in (ranks - 1, np.log2(ranks)))
                cells.append(
                    f"{1e3 * (fixed + ring):.1f}, {1e3 * (fixed + tree):.1f}"
                    if ranks > 1
                    else f"{1e3 * whole:.1f}"
                )
            lines.append(f"| {name} | {width}-{width} | " + " | ".join(cells) + " |")
    work = ", ".join(
        f"{name} {ALGORITHMS[name][1]['num_envs']} x {ALGORITHMS[name][1]['horizon']}"
        for name in dict.fromkeys(row[0] for row in ROWS)
    )
    return [*lines, "", f"CartPole-v1; environments x steps of an iteration: {work}."]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100_000, help="of each agent")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    options = parser.parse_args()
    lines = [*agents(options.steps), "", *iterations(options.iterations), ""]
    lines.append(f"{date.today()}, {os.cpu_count()} cores; medians.")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        begin, end = MARKS
        before = DOCUMENT.read_text()
        DOCUMENT.write_text(re.sub(f"{begin}.*?{end}", lambda _: begin + text + end, before, flags=re.DOTALL))


if __name__ == "__main__":
    main()
