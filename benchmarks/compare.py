"""fastpg beside its peers on the same work, in turn, on this machine: `compare.py --peers-python PYTHON`.

Writes docs/benchmarks.md, or with `--only SECTION ...` those sections of it, and draws docs/benchmarks.svg. PYTHON is the
interpreter of a virtual environment with peers/requirements.txt, or some of it: what is not installed is left out, and said so.
Rounds are interleaved, so that a slow moment of a shared machine falls on both; what is reported is the median over rounds.
"""

import argparse
import functools
import json
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

import numpy as np
from learning import interquartile_mean, interval
from ppo_runs import LEARNT, LEARNT_SEEDS, PEER_SCRIPTS, RUNS, STEPS, Run

import fastpg

HERE = Path(__file__).parent
KFLOP = {"0": 0.03, "32": 0.90, "64,64": 26.4}  # of a step, forward and backward
UNITS = {"0": 0, "32": 32, "64,64": 128}  # hidden ones: tanh evaluations of a step
MOST_SECONDS = 180  # of a run that solves CartPole
TRAINING = [  # (hidden, name, {number of environments: target})
    ("0", "linear", {8: 10, 64: 25, 1024: 25}),
    ("32", "32", {8: 20, 64: 18, 1024: 18}),
    ("64,64", "64-64", {8: 8, 64: 6, 1024: 6}),
]


REQUIRED = {  # modules that a peer imports
    "JAX": ("jax", "gymnax", "optax"),
    "jax": ("jax",),
    "gymnax": ("jax", "gymnax"),
    "torch": ("torch",),
    "torch_compile": ("torch",),
    "vector": ("gymnasium",),
    "sync": ("gymnasium",),
    "envpool": ("envpool",),
    "numpy": ("numpy",),
    "copy": ("numpy",),
    "torchrl": ("torchrl",),
    "numba": ("numba",),
    "SB3 A2C": ("stable_baselines3",),
    "SB3 PPO": ("stable_baselines3",),
    "rejax": ("rejax",),
    "PyTorch": ("torch", "gymnasium"),
    "SB3": ("stable_baselines3",),
    "sb3-contrib": ("sb3_contrib",),
}
RATIOS: dict[str, dict[str, dict[str, float]]] = {}  # section, row, peer: fastpg over it; what the plot shows


@functools.cache
def missing(python: str) -> dict[str, str]:
    """Return the peers that this interpreter cannot run, and the module that is not installed."""
    names = sorted({name for names in REQUIRED.values() for name in names})
    code = f"import importlib.util as u; print([n for n in {names} if not u.find_spec(n)])"
    absent = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    lacking = {peer: [name for name in names if repr(name) in absent] for peer, names in REQUIRED.items()}
    return {peer: names[0] for peer, names in lacking.items() if names}


def beside(section: str, row: str, python: str, rounds: int, **runs: Callable[[], float]) -> dict[str, float]:
    """Run fastpg and those peers that are installed; keep the ratios of the rates."""
    here = {name: run for name, run in runs.items() if name not in missing(python)}
    rate = medians(rounds, **here)
    RATIOS[section][row] = {name: rate["fastpg"] / rate[name] for name in rate if name != "fastpg"}
    return rate


def cell(value: float | None, form: str) -> str:
    """Return a table's cell, empty where there is no value."""
    return "" if value is None else form.format(value)


def printed(python: str, script: str, *arguments: object, **environment: str) -> str:
    """Run a program; the last line that it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [python, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def number(python: str, script: str, *arguments: object, **environment: str) -> float:
    """Run a program that prints one number."""
    return float(printed(python, script, *arguments, **environment).split()[-1])


def figures(python: str, script: str, *arguments: object) -> dict:
    """Run a program that prints JSON; its figures."""
    return json.loads(printed(python, script, *arguments))


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
            rate = beside(
                "training",
                f"{name}, N={num_envs}",
                python,
                rounds,
                fastpg=lambda n=num_envs, h=hidden: ours("train", n, 128, h),
                JAX=lambda n=num_envs, h=hidden, k=iterations: number(
                    python, "peers/reinforce_jax.py", n, 128, h, k
                ),
            )
            ratio = RATIOS["training"][f"{name}, N={num_envs}"].get("JAX")
            jax = rate["JAX"] / 1e6 if "JAX" in rate else None
            cells = f"{rate['fastpg'] / 1e6:.2f} | {cell(jax, '{:.2f}')} | {cell(ratio, '{:.1f} x')}"
            yield f"| {name} | {num_envs} | {cells} | {target} x |"
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
    peers: dict[str, Callable[[], float]] = {
        "fastpg": lambda: ours("suite", "environments.Threads", env_id, num_envs, "all")
    }
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
        row = f"CartPole-v1, N={num_envs}"
        rate = beside("env", row, python, rounds, **env_peers(python, "CartPole-v1", num_envs, 128))
        kinds = ("vector", "sync", "envpool", "gymnax")
        ratio = {kind: cell(RATIOS["env"][row].get(kind), "{:.1f} x") for kind in kinds}
        cells = [
            *(millions(rate[kind]) if kind in rate else "" for kind in ("fastpg", *kinds)),
            ratio["vector"],
            over_vector,
            ratio["sync"],
            ratio["envpool"],
            over_envpool,
            ratio["gymnax"],
        ]
        yield f"| {num_envs:,} | " + " | ".join(cells) + " |"
    yield ""
    yield "### The other environments, N=1024"
    yield ""
    yield "Targets: 100 x SyncVectorEnv, 10 x gymnax. Where a cell is empty, the peer does not have the environment."
    yield ""
    yield "| environment | fastpg | sync | envpool | gymnax | over sync | over envpool | over gymnax |"
    yield "|---|---|---|---|---|---|---|---|"
    for env_id in sorted(set(fastpg.list_envs()) - {"CartPole-v0", "CartPole-v1"}):
        rate = beside("env", f"{env_id}, N=1024", python, rounds, **env_peers(python, env_id, 1024, 32))
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
    yield from memory_roof(rounds)


def memory_roof(rounds: int) -> Iterator[str]:
    yield "The estimates on arrays are bound by memory where the arrays fit no cache: the bytes that they must read and write, beside"
    yield "what `numpy.copyto` moves between two arrays of 256 MB, on one thread, in the same rounds."
    yield ""
    yield "| function, T x N = 1024 x 16384 | million entries/s | bytes an entry | GB/s | copying, GB/s | share |"
    yield "|---|---|---|---|---|---|"
    for function, size in {"returns": 4 + 2 + 4, "gae": 8 + 2 + 8, "vtrace": 12 + 2 + 8}.items():
        rate = medians(
            rounds,
            entries=lambda f=function: ours("suite", "arrays.Estimate", f, "1024x16384"),
            copying=lambda: ours("bandwidth"),
        )
        moved, copied = rate["entries"] * size / 1e9, rate["copying"] / 1e9
        yield (
            f"| {function} | {rate['entries'] / 1e6:.0f} | {size} | {moved:.1f} | {copied:.1f} | {moved / copied:.0%} |"
        )
    yield ""


def arrays(python: str, rounds: int) -> Iterator[str]:
    yield "`fastpg.gae`, float32, one thread (JAX: all); million entries of (T, N) a second (`peers/gae.py`). Copy copies the four"
    yield "inputs; NumPy is the loop over rows of Stable-Baselines3 and CleanRL; numba a compiled loop over single entries."
    yield "Targets at 128 x 4096: 3 x the NumPy loop, and not less than half as fast as copying."
    yield ""
    kinds = ("copy", "numpy", "torchrl", "jax", "numba")
    yield (
        "| T x N | fastpg | "
        + " | ".join(kinds)
        + " | "
        + " | ".join(f"over {kind}" for kind in kinds)
        + " |"
    )
    yield "|---" * (2 + 2 * len(kinds)) + "|"
    for num_steps, num_envs in ((128, 4096), (2048, 64), (128, 8)):
        row = f"gae, {num_steps} x {num_envs}"
        peers = {
            kind: lambda k=kind, t=num_steps, n=num_envs: number(python, "peers/gae.py", k, t, n)
            for kind in kinds
        }
        peers["fastpg"] = lambda t=num_steps, n=num_envs: ours("suite", "arrays.Estimate", "gae", f"{t}x{n}")
        rate = beside("arrays", row, python, rounds, **peers)
        cells = [millions(rate[kind]) if kind in rate else "" for kind in ("fastpg", *kinds)]
        cells += [cell(RATIOS["arrays"][row].get(kind), "{:.2f} x") for kind in kinds]
        yield f"| {num_steps} x {num_envs} | " + " | ".join(cells) + " |"
    yield ""


def solving(python: str, rounds: int) -> Iterator[str]:
    yield "Seconds of training until the mean return of the last 100 episodes of CartPole-v1 is 475 (fastpg: 100 or more), one round a"
    yield f"seed, one thread, {MOST_SECONDS} s at most, imports left out. fastpg has its defaults, or settings of PPO that get there quickly"
    yield "(`fastpg_work.py`); what Stable-Baselines3 has is in `peers/sb3_cartpole.py`. Medians over seeds; the ratio is to the fastest of fastpg's."
    yield ""
    yield "| program | seconds, median | each seed | solved | over fastpg |"
    yield "|---|---|---|---|---|"
    one = {"FASTPG_NUM_THREADS": "1"}
    runs = {
        f"fastpg {name}": lambda seed, n=name: ours("solve", n, seed, MOST_SECONDS, **one)
        for name in ("Reinforce", "VPG", "PPO", "PPO, 64-64", "PPO, 32-32")
    }
    for name in ("a2c", "ppo"):
        if f"SB3 {name.upper()}" not in missing(python):
            runs[f"SB3 {name.upper()}"] = lambda seed, n=name: number(
                python, "peers/sb3_cartpole.py", n, seed, MOST_SECONDS
            )
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for seed in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run(seed))
        print({name: values[-1] for name, values in seconds.items()}, flush=True)
    medians_of = {name: statistics.median(values) for name, values in seconds.items()}
    fastest = min(value for name, value in medians_of.items() if name.startswith("fastpg"))
    for name, values in seconds.items():
        each = ", ".join(f"{value:.3g}" if value < float("inf") else f"> {MOST_SECONDS}" for value in values)
        median, solved = medians_of[name], sum(value < float("inf") for value in values)
        ratio = ""
        if name.startswith("SB3"):
            ratio = (
                f"{median / fastest:.0f} x" if median < float("inf") else f"> {MOST_SECONDS / fastest:.0f} x"
            )
            RATIOS["solving"].setdefault("time to solve CartPole-v1", {})[name] = (
                min(median, MOST_SECONDS) / fastest
            )
        shown = f"{median:.3g}" if median < float("inf") else f"> {MOST_SECONDS}"
        yield f"| {name} | {shown} | {each} | {solved} of {len(values)} | {ratio} |"
    yield ""


def trainers(python: str, run: Run, threads: int) -> dict[str, Callable[[], float]]:
    """What trains as `run` says, fastpg first: the steps a second of each."""
    peers = {name: (python, *script) for name, script in PEER_SCRIPTS[run.algorithm].items()}
    commands = {"fastpg": (sys.executable, "fastpg_ppo.py", run.algorithm), **peers}

    def rate(name: str) -> float:
        length = ("--threads", threads, "--steps", STEPS[name])
        return figures(*commands[name], *run.options.split(), *length)["steps_per_second"]

    return {name: functools.partial(rate, name) for name in commands}


def ppo(python: str, rounds: int) -> Iterator[str]:
    yield "Thousand steps a second of whole training runs, policy and value function each 64-64, imports and compilation left out."
    yield "PPO is that of rejax (the whole loop jitted, gymnax's environments), of PyTorch in one file (`peers/ppo_torch.py`), and of"
    yield "Stable-Baselines3; TRPO that of sb3-contrib. Target: 6 x rejax in the first row."
    yield ""
    peers = ("rejax", "PyTorch", "SB3", "sb3-contrib")
    yield (
        "| training | threads | fastpg | "
        + " | ".join(peers)
        + " | "
        + " | ".join(f"over {p}" for p in peers)
        + " |"
    )
    yield "|---" * (3 + 2 * len(peers)) + "|"
    for run in RUNS:
        for threads in sorted({1, os.cpu_count()}):
            row = f"{run.name}, {threads} thread{'s' * (threads > 1)}"
            rate = beside("ppo", row, python, rounds, **trainers(python, run, threads))
            cells = [f"{rate[name] / 1e3:.1f}" if name in rate else "" for name in ("fastpg", *peers)]
            cells += [cell(RATIOS["ppo"][row].get(name), "{:.1f} x") for name in peers]
            yield f"| {run.name} | {threads} | " + " | ".join(cells) + " |"
    yield ""


def learnt(python: str, _: int) -> Iterator[str]:
    yield f"PPO. Returns of the policy as it acts in training, {len(LEARNT_SEEDS)} seeds, the same settings in both: interquartile mean and 95 %"
    yield "bootstrap interval of the seeds' means over 100 episodes, which begin in the same states."
    yield ""
    yield "| environment | settings | fastpg | Stable-Baselines3 |"
    yield "|---|---|---|---|"
    for env_id, options in LEARNT.items():
        runs = {"fastpg": (sys.executable, "fastpg_ppo.py"), "SB3": (python, "peers/sb3.py")}
        arguments = ("ppo", "--env", env_id, *options.split())
        cells = []
        for name, (interpreter, script) in runs.items():
            if name in missing(python):
                cells.append("")
                continue
            returns = [
                figures(interpreter, script, *arguments, "--seed", seed)["returns"] for seed in LEARNT_SEEDS
            ]
            scores = np.mean(returns, axis=1)
            low, high = interval(scores)
            cells.append(f"{interquartile_mean(scores):.1f} [{low:.1f}, {high:.1f}]")
        print(env_id, cells, flush=True)
        yield f"| {env_id} | `{options}` | " + " | ".join(cells) + " |"
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
        row = f"{size} samples"
        peers["fastpg"] = lambda s=size: ours("suite", "batch_gradient.Gradient", "64-64", s, "all")
        rate = beside("batches", row, python, rounds, **peers)
        kinds = ("fastpg", "torch", "torch_compile", "jax")
        cells = " | ".join(cell(rate[kind] / 1e6 if kind in rate else None, "{:.2f}") for kind in kinds)
        least = min(RATIOS["batches"][row].values(), default=None)
        yield f"| {size:,} | {cells} | {cell(least, '{:.1f} x')} | {target} x |"
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


def plot(path: Path) -> None:
    """Draw every ratio that was measured on a logarithmic axis."""
    try:
        import matplotlib
    except ImportError:
        print("No plot: matplotlib is not installed (pip install --group bench).")
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastpg"  # the same figures give the same file
    from matplotlib import pyplot

    shown = {name: RATIOS[name] for name in SECTIONS if any(RATIOS.get(name, {}).values())}
    if not shown:
        return
    heights = [len(rows) + 1 for rows in shown.values()]
    figure, axes = pyplot.subplots(
        len(shown),
        1,
        figsize=(8, 0.26 * sum(heights) + 1),
        height_ratios=heights,
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for (name, rows), axis in zip(shown.items(), axes[:, 0], strict=True):
        for peer in sorted({peer for ratios in rows.values() for peer in ratios}):
            places = [(ratios[peer], row) for row, ratios in rows.items() if peer in ratios]
            axis.plot(*zip(*places, strict=True), "o", label=peer, markersize=5)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_title(SECTIONS[name].title, fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.invert_yaxis()
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    axes[-1, 0].set_xlabel("times as fast as the peer", fontsize=8)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def measured(rounds: int) -> str:
    info = fastpg.build_info()
    return (
        f"{date.today()}, {cpu_name()}, {os.cpu_count()} cores, {platform.system()}; fastpg {info['version']} ({info['isa']}, "
        f"{info['compiler']}), Python {info['python']}, numpy {info['numpy']}"
        + (f"; median of {rounds} interleaved rounds." if rounds else ".")
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
    "arrays": Section("Advantages on arrays", arrays),
    "solving": Section("Time to solve CartPole", solving),
    "ppo": Section("PPO and TRPO", ppo),
    "learnt": Section("What PPO learns beside Stable-Baselines3", learnt),
    "others": Section("Memory, interruption, import", others),
}


PEERS = {  # by section, as REQUIRED names them
    "training": ("JAX",),
    "env": ("vector", "sync", "envpool", "gymnax"),
    "roofline": (),
    "parts": (),
    "batches": ("torch", "torch_compile", "jax"),
    "arrays": ("copy", "numpy", "torchrl", "jax", "numba"),
    "solving": ("SB3 A2C", "SB3 PPO"),
    "ppo": ("rejax", "PyTorch", "SB3", "sb3-contrib"),
    "learnt": ("SB3",),
    "others": (),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peers-python", default=sys.executable, help="interpreter with the peers; by default this one"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=tuple(SECTIONS), metavar="SECTION")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    options = parser.parse_args()
    before = options.output.read_text() if options.output.exists() else ""
    bodies = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", before, re.MULTILINE))
    kept = options.output.with_suffix(".json")
    if kept.exists():
        RATIOS.update(json.loads(kept.read_text()))
    for name in options.only:
        title, lines = SECTIONS[name]
        RATIOS[name] = {}
        rounds = 0 if name == "learnt" else options.rounds  # seeds instead
        written = "\n".join(("", *lines(options.peers_python, options.rounds), measured(rounds)))
        absent = {
            peer: module for peer, module in missing(options.peers_python).items() if peer in PEERS[name]
        }
        for peer, module in absent.items():
            written += f" Left out: {peer}, for {module} is not installed."
        bodies[title] = written.rstrip() + "\n\n"
        kept.write_text(json.dumps(RATIOS, indent=1) + "\n")
    plot(options.output.with_suffix(".svg"))
    head = (
        "# Benchmarks\n\nWritten by `python benchmarks/compare.py`; see benchmarks/README.md. Only ratios within one table mean "
        "anything:\nmachines differ, and this one is shared.\n\n![Times as fast as each peer](benchmarks.svg)\n\n"
    )
    known = (f"## {title}\n{bodies[title]}" for title, _ in SECTIONS.values() if title in bodies)
    options.output.write_text((head + "".join(known)).rstrip() + "\n")


if __name__ == "__main__":
    main()
