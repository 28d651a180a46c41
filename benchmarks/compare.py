"""fastpg beside its peers on the same work, in turn, on this machine: `compare.py --peers-python PYTHON`.

Writes docs/benchmarks.md. PYTHON is the interpreter of a virtual environment with peers/requirements.txt. Rounds are
interleaved, so that a slow moment of a shared machine falls on both; what is reported is the median over rounds.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import fastpg

HERE = Path(__file__).parent
KFLOP = {"0": 0.03, "32": 0.90, "64,64": 26.4}  # of a step, forward and backward
UNITS = {"0": 0, "32": 32, "64,64": 128}  # hidden ones: tanh evaluations of a step
TRAINING = [  # (hidden, name, {number of environments: target})
    ("0", "linear", {8: 10, 64: 25, 1024: 25}),
    ("32", "32", {8: 20, 64: 18, 1024: 18}),
    ("64,64", "64-64", {8: 8, 64: 6, 1024: 6}),
]


def number(python: str, script: str, *arguments: object, **environment: str) -> float:
    """Run a program that prints one number."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [python, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def ours(*arguments: object, **environment: str) -> float:
    return number(sys.executable, "fastpg_work.py", *arguments, **environment)


def medians(rounds: int, **runs) -> dict[str, float]:
    """Run each in turn, `rounds` times over; the median of each."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seen[name].append(run())
    print({name: [f"{x:.4g}" for x in values] for name, values in seen.items()}, flush=True)
    return {name: statistics.median(values) for name, values in seen.items()}


def training(python: str, rounds: int) -> Iterator[str]:
    yield "## Training iterations: rollout, gradient, Adam"
    yield ""
    yield "CartPole-v1, reward-to-go, T=128, all cores; million steps a second. The peer is JAX with gymnax, the whole loop jitted"
    yield "(`peers/reinforce_jax.py`)."
    yield ""
    yield "| policy | N | fastpg | JAX | ratio | target |"
    yield "|---|---|---|---|---|---|"
    for hidden, name, targets in TRAINING:
        for num_envs, target in targets.items():
            iterations = max(20, min(200, 4000 // num_envs))
            rate = medians(
                rounds,
                fastpg=lambda n=num_envs, h=hidden: ours("train", n, 128, h),
                jax=lambda n=num_envs, h=hidden, k=iterations: number(
                    python, "peers/reinforce_jax.py", n, 128, h, k
                ),
            )
            ratio = rate["fastpg"] / rate["jax"]
            yield f"| {name} | {num_envs} | {rate['fastpg'] / 1e6:.2f} | {rate['jax'] / 1e6:.2f} | {ratio:.1f} x | {target} x |"
    yield ""


def roofline(rounds: int) -> Iterator[str]:
    yield "## Threads, instruction sets, and the share of the machine's peak"
    yield ""
    yield "Training iterations at N=1024, T=128. The peak is numpy's sgemm, 1024 x 1024, on one thread, in the same rounds."
    yield ""
    yield "| policy | 1 thread, M steps/s | 2 threads over 1 | AVX2 over AVX-512 | baseline over AVX-512 | share of sgemm peak |"
    yield "|---|---|---|---|---|---|"
    one = {"FASTPG_NUM_THREADS": "1"}
    for hidden, name, _ in TRAINING:
        work = ("train", 1024, 128, hidden)
        rate = medians(
            rounds,
            one=lambda w=work: ours(*w, **one),
            two=lambda w=work: ours(*w, FASTPG_NUM_THREADS="2"),
            avx2=lambda w=work: ours(*w, FASTPG_ISA="avx2", **one),
            baseline=lambda w=work: ours(*w, FASTPG_ISA="baseline", **one),
            sgemm=lambda: ours("sgemm", OPENBLAS_NUM_THREADS="1"),
        )
        share = (
            f"{rate['one'] * KFLOP[hidden] * 1e3 / rate['sgemm']:.0%} of {rate['sgemm'] / 1e9:.0f} GFLOP/s"
        )
        yield (
            f"| {name} | {rate['one'] / 1e6:.2f} | {rate['two'] / rate['one']:.2f} x | {rate['avx2'] / rate['one']:.2f} | "
            f"{rate['baseline'] / rate['one']:.2f} | {share} |"
        )
    yield ""


def parts(rounds: int) -> Iterator[str]:
    yield "## Where the time of a step goes"
    yield ""
    yield "Nanoseconds a step, one thread, N=1024, T=128. Environment: step and observe alone. Act: the policy's forward pass and the"
    yield "drawing of the action, on rows that come from memory. Backward: score and backward pass, as the gradient of a batch less"
    yield "its forward pass. Rest: what a whole iteration takes beyond these: rewards, returns, tape, episode ends, the fold and Adam;"
    yield "negative where the fused pass saves what the separate calls pay. Matrix limit: the step's floating-point operations at the"
    yield "sgemm peak. Tanh: the step's hyperbolic tangents at the rate of a loop over nothing else, included in act."
    yield ""
    yield "| policy | whole | environment | act | backward | rest | matrix limit | tanh |"
    yield "|---|---|---|---|---|---|---|---|"
    one = {"FASTPG_NUM_THREADS": "1"}
    for hidden, name, _ in TRAINING:
        rate = medians(
            rounds,
            whole=lambda h=hidden: ours("train", 1024, 128, h, **one),
            environment=lambda: ours("environment", **one),
            act=lambda h=hidden: ours("on_a_batch", 16384, h, "act", **one),
            logits=lambda h=hidden: ours("on_a_batch", 16384, h, "logits", **one),
            gradient=lambda h=hidden: ours("on_a_batch", 16384, h, "gradient", **one),
            tanh=lambda: ours("tanh", **one),
            sgemm=lambda: ours("sgemm", OPENBLAS_NUM_THREADS="1"),
        )
        ns = {part: 1e9 / value for part, value in rate.items()}
        backward = ns["gradient"] - ns["logits"]
        rest = ns["whole"] - ns["environment"] - ns["act"] - backward
        limit = KFLOP[hidden] * 1e3 * ns["sgemm"]
        cells = (ns["whole"], ns["environment"], ns["act"], backward, rest, limit, UNITS[hidden] * ns["tanh"])
        yield f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"
    yield ""


def batches(python: str, rounds: int) -> Iterator[str]:
    yield "## `policy_gradient` on a batch that the caller has, 64-64"
    yield ""
    yield "All cores; million samples a second; the ratio is to the fastest peer of the row (`peers/batch_gradient.py`)."
    yield ""
    yield "| samples | fastpg | torch | torch.compile | JAX | ratio | target |"
    yield "|---|---|---|---|---|---|---|"
    for size, target in {256: 1, 4096: 1, 65536: 3}.items():
        peers = {
            kind: lambda k=kind, s=size: number(
                python, "peers/batch_gradient.py", k, s, "64,64", os.cpu_count()
            )
            for kind in ("torch", "torch_compile", "jax")
        }
        rate = medians(rounds, fastpg=lambda s=size: ours("on_a_batch", s, "64,64", "gradient"), **peers)
        best = max(rate[kind] for kind in peers)
        cells = " | ".join(f"{value / 1e6:.2f}" for value in rate.values())
        yield f"| {size:,} | {cells} | {rate['fastpg'] / best:.1f} x | {target} x |"
    yield ""


def others(rounds: int) -> Iterator[str]:
    seen = medians(
        rounds,
        short=lambda: ours("memory", 1_000_000, 128),
        long=lambda: ours("memory", 1_000_000, 512),
        interrupt=lambda: ours("interrupt"),
        imports=lambda: ours("imports"),
    )
    yield "## Memory, interruption, import"
    yield ""
    yield f"- One million linear CartPoles, T=128: {seen['short']:.0f} MB peak; T=512: {seen['long']:.0f} MB."
    yield (
        f"- Ctrl-C in an iteration that would take minutes (N=4096, T=2000, 512-512-512): "
        f"`KeyboardInterrupt` after {seen['interrupt']:.3f} s."
    )
    yield f"- `import fastpg` beyond `import numpy`: {seen['imports']:.2f} s."
    yield ""


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers-python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    options = parser.parse_args()
    info = fastpg.build_info()
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/compare.py`; see benchmarks/README.md. Only ratios within one table mean anything:",
        "machines differ, and this one is shared.",
        "",
        f"{date.today()}, {cpu_name()}, {os.cpu_count()} cores, {platform.system()}; fastpg {info['version']} ({info['isa']}, "
        f"{info['compiler']}), Python {info['python']}, numpy {info['numpy']}; median of {options.rounds} interleaved rounds.",
        "",
        *training(options.peers_python, options.rounds),
        *roofline(options.rounds),
        *parts(options.rounds),
        *batches(options.peers_python, options.rounds),
        *others(options.rounds),
    ]
    options.output.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
