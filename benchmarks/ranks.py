"""One agent on several processes: `python benchmarks/ranks.py`.

Prints the median time of an iteration, and what each rank sends in one, for one process and for ranks that
gloo connects on this machine, each on one thread. The networks are 64-64 twice, in a second table 256-256.
All runs of an algorithm have the same bits, which is checked.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from typing import Any

import fastpg

ALGORITHMS: dict[str, tuple[Any, dict[str, int]]] = {
    "REINFORCE": (fastpg.Reinforce(), {"num_envs": 1024, "horizon": 128}),
    "A2C": (fastpg.A2C(), {"num_envs": 1024, "horizon": 32}),
    "PPO, 4 epochs of 4": (fastpg.PPO(epochs=4, minibatches=4), {"num_envs": 256, "horizon": 128}),
    "PPO, as it is": (fastpg.PPO(), {"num_envs": 16, "horizon": 128}),
    "TRPO": (fastpg.TRPO(), {"num_envs": 256, "horizon": 128}),
}


class Counting:
    """A communicator that counts what goes through it."""

    def __init__(self, communicator: Any) -> None:
        self.of = communicator
        self.rank, self.size = communicator.rank, communicator.size
        self.messages = self.bytes = 0

    def allgather(self, send: Any, receive: Any) -> None:
        """As `Communicator.allgather`."""
        self.messages += 1
        self.bytes += send.size
        self.of.allgather(send, receive)

    def close(self) -> None:
        """As `Communicator.close`."""
        self.of.close()


def rank(name: str, width: int, iterations: int) -> None:
    """Be one of the ranks; the first one prints what is found."""
    algorithm, how = ALGORITHMS[name]
    fastpg.set_num_threads(1)
    counting = Counting(fastpg.distributed.torch()) if "WORLD_SIZE" in os.environ else None
    run = fastpg.train(
        "CartPole-v1", algorithm, hidden=(width, width), seed=1, communicator=counting,
        total_steps=iterations * how["num_envs"] * how["horizon"], **how,
    )  # fmt: skip
    seconds = run.history["seconds"]
    if counting is not None and counting.rank > 0:
        return
    print(json.dumps({
        "ms": 1e3 * statistics.median(seconds[len(seconds) > 2 :]),
        "messages": 0 if counting is None else counting.messages / len(seconds),
        "bytes": 0 if counting is None else counting.bytes / len(seconds),
        "bits": run.policy.theta.tobytes().hex()[:64],
    }))  # fmt: skip


def measured(size: int, name: str, width: int, iterations: int) -> dict[str, Any]:
    """Return what rank 0 of so many has printed; 0 is without a communicator."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    address = {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [
        sys.executable,
        __file__,
        "--rank",
        name,
        "--width",
        str(width),
        "--iterations",
        str(iterations),
    ]
    ranks = []
    for k in range(max(size, 1)):
        own = {**address, "RANK": str(k), "WORLD_SIZE": str(size)} if size else {}
        ranks.append(subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True))
    outputs = [one.communicate()[0] for one in ranks]
    if any(one.returncode for one in ranks):
        sys.exit(f"a rank of {name!r} failed")
    found: dict[str, Any] = json.loads(outputs[0])
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, nargs="*", default=[64, 256])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--only", nargs="*", default=list(ALGORITHMS), help="rows, by their names")
    options = parser.parse_args()
    if options.rank:
        rank(options.rank, options.width[0], options.iterations)
        return
    for width in options.width:
        print(f"\nNetworks of {width}-{width}, CartPole-v1, one thread a rank\n")
        print("| algorithm | environments x steps | ranks | ms an iteration | messages | MB sent by a rank |")
        print("|---|---|---|---|---|---|")
        for name in options.only:
            how, bits = ALGORITHMS[name][1], set()
            for size in options.sizes:
                one = measured(size, name, width, options.iterations)
                bits.add(one["bits"])
                sent = f"{one['messages']:.0f} | {one['bytes'] / 1e6:.2f}"
                work = f"{how['num_envs']} x {how['horizon']}"
                print(f"| {name} | {work} | {size or 'one process'} | {one['ms']:.1f} | {sent} |", flush=True)
            assert len(bits) == 1, f"{name}: the bits differ"


if __name__ == "__main__":
    main()
