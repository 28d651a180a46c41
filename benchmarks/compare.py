"""fastpg beside its peers on the same work, in turn, on this machine: `compare.py --peers-python PYTHON`.

Writes docs/benchmarks.md, or with `--only SECTION ...` those sections of it. PYTHON is the interpreter of a virtual
environment with peers/requirements.txt. Rounds are interleaved, so that a slow moment of a shared machine falls on both;
what is reported is the median over rounds.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

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


def env_peers(python: str, env_id: str, num_envs: int, steps: int) -> dict[str, Callable[[], float]]:
    """What steps this environment beside fastpg, which comes first."""
    kinds = {
        "vector": {"CartPole-v0", "CartPole-v1"},
        "sync": set(fastpg.list_envs()),
        "envpool": set(fastpg.list_envs()) - {"CliffWalking-v1", "Taxi-v4"},
        "gymnax": {"CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"},
    }
    work = (env_id, num_envs, steps)
    peers: dict[str, Callable[[], float]] = {"fastpg": lambda: ours("vector_env", *work)}
    for kind, env_ids in kinds.items():
        if env_id in env_ids:
            peers[kind] = lambda k=kind: number(python, "peers/env_step.py", k, *work)
    return peers


def millions(rate: float) -> str:
    return f"{rate / 1e6:.3g}"


def stepping(python: str, rounds: int) -> Iterator[str]:
    yield "Million steps a second with all cores, autoreset, and the same random action of an environment at every step"
    yield "(`peers/env_step.py`). fastpg is `fastpg.make(..., copy=False).step`; Gymnasium's vector is the NumPy environment that it has"
    yield "for CartPole, sync its SyncVectorEnv; gymnax is one jitted scan, without a call from Python for every step."
    yield ""
    yield "### CartPole-v1"
    yield ""
    yield "| N | fastpg | Gymnasium's vector | sync | envpool | gymnax | over vector | target | over sync | over envpool | target | over gymnax |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for num_envs, over_vector, over_envpool in ((64, "10 x", ""), (1024, "15 x", "100 x"), (4096, "", "")):
        rate = medians(rounds, **env_peers(python, "CartPole-v1", num_envs, 128))
        ratio = {kind: f"{rate['fastpg'] / value:.1f} x" for kind, value in rate.items()}
        cells = [
            *map(millions, rate.values()),
            ratio["vector"],
            over_vector,
            ratio["sync"],
            ratio["envpool"],
            over_envpool,
        ]
        yield f"| {num_envs:,} | " + " | ".join([*cells, ratio["gymnax"]]) + " |"
    yield ""
    yield "### The other environments, N=1024"
    yield ""
    yield "Targets: 100 x SyncVectorEnv, 10 x gymnax. Where a cell is empty, the peer does not have the environment."
    yield ""
    yield "| environment | fastpg | sync | envpool | gymnax | over sync | over envpool | over gymnax |"
    yield "|---|---|---|---|---|---|---|---|"
    for env_id in sorted(set(fastpg.list_envs()) - {"CartPole-v0", "CartPole-v1"}):
        rate = medians(rounds, **env_peers(python, env_id, 1024, 32))
        kinds = ("sync", "envpool", "gymnax")
        values = [millions(rate[kind]) if kind in rate else "" for kind in ("fastpg", *kinds)]
        ratios = [f"{rate['fastpg'] / rate[kind]:.1f} x" if kind in rate else "" for kind in kinds]
        yield f"| {env_id} | " + " | ".join(values + ratios) + " |"
    yield ""
    yield "### The compiled loop beside plain C, one thread"
    yield ""
    yield from plain_c(rounds)
    yield ""


def plain_c(rounds: int) -> Iterator[str]:
    compiler = shutil.which("cc")
    if compiler is None:
        yield "Skipped: there is no C compiler called cc."
        return
    flags = [
        "-O3",
        "-march=native",
        "-fopenmp-simd",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
    ]
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "loops.so")
        command = [compiler, *flags, "-I", str(HERE.parent / "csrc"), "-shared", "-fPIC", "-o", library]
        command.append(str(HERE / "plain_c" / "loops.c"))
        for more in (["-mprefer-vector-width=512"], []):  # not every compiler and processor has it
            done = subprocess.run([*command, *more], capture_output=True, text=True)
            if not done.returncode:
                break
        else:
            yield f"Skipped: cc does not compile plain_c/loops.c: {done.stderr.splitlines()[-1]}"
            return
        yield "Million steps a second of the kernels, called as a rollout calls them, and of a loop written by hand for one environment, its"
        yield f"default parameters and this machine (`plain_c/loops.c`, `cc {' '.join(flags)}`). Target: 60 %."
        yield ""
        yield "| environment | N | fastpg | plain C | share |"
        yield "|---|---|---|---|---|"
        for kernel in ("cartpole", "mountain_car", "pendulum"):
            for num_envs in (64, 1024):
                rate = medians(
                    rounds,
                    kernel=lambda k=kernel, n=num_envs: ours("c_loop", "kernel", library, k, n),
                    plain=lambda k=kernel, n=num_envs: ours("c_loop", "plain", library, k, n),
                )
                share = rate["kernel"] / rate["plain"]
                yield f"| {kernel} | {num_envs:,} | {millions(rate['kernel'])} | {millions(rate['plain'])} | {share:.0%} |"


def roofline(python: str, rounds: int) -> Iterator[str]:
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


def parts(python: str, rounds: int) -> Iterator[str]:
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


def others(python: str, rounds: int) -> Iterator[str]:
    seen = medians(
        rounds,
        short=lambda: ours("memory", 1_000_000, 128),
        long=lambda: ours("memory", 1_000_000, 512),
        interrupt=lambda: ours("interrupt"),
        imports=lambda: ours("imports"),
    )
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


def measured(rounds: int) -> str:
    info = fastpg.build_info()
    return (
        f"{date.today()}, {cpu_name()}, {os.cpu_count()} cores, {platform.system()}; fastpg {info['version']} ({info['isa']}, "
        f"{info['compiler']}), Python {info['python']}, numpy {info['numpy']}; median of {rounds} interleaved rounds."
    )


class Section(NamedTuple):
    title: str
    lines: Callable[[str, int], Iterator[str]]  # (the peers' python, rounds)


SECTIONS = {  # in the order of the document
    "training": Section("Training iterations: rollout, gradient, Adam", training),
    "env": Section("Stepping environments", stepping),
    "roofline": Section("Threads, instruction sets, and the share of the machine's peak", roofline),
    "parts": Section("Where the time of a step goes", parts),
    "batches": Section("`policy_gradient` on a batch that the caller has, 64-64", batches),
    "others": Section("Memory, interruption, import", others),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers-python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=tuple(SECTIONS), metavar="SECTION")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    options = parser.parse_args()
    before = options.output.read_text() if options.output.exists() else ""
    bodies = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", before, re.MULTILINE))
    for name in options.only:
        title, lines = SECTIONS[name]
        written = "\n".join(("", *lines(options.peers_python, options.rounds), measured(options.rounds)))
        bodies[title] = written.rstrip() + "\n\n"
    head = (
        "# Benchmarks\n\nWritten by `python benchmarks/compare.py`; see benchmarks/README.md. Only ratios within one table mean "
        "anything:\nmachines differ, and this one is shared.\n\n"
    )
    known = (f"## {title}\n{bodies[title]}" for title, _ in SECTIONS.values() if title in bodies)
    options.output.write_text((head + "".join(known)).rstrip() + "\n")


if __name__ == "__main__":
    main()
