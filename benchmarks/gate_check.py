"""The gate's demonstration: a commit beside itself must pass, an injected slowdown of 20 % must fail.

`python benchmarks/gate_check.py` makes 10 runs of either kind, in turn. The slowdown: in a copy of the
repository, a share of the calls of one kernel is made twice (KERNELS), with the same results. It is chosen so
that the workload that is named there, most of which is this kernel, takes about 20 % longer; every run prints
the ratio of its times, and the ratio of instructions is printed first. Exits with 1 unless all runs end well.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import gate_instructions
from gate_builds import HERE, build, git, top, tree_of


class Injection(NamedTuple):
    """How calls of a kernel are repeated, and the workload that is almost nothing else."""

    path: str
    changes: tuple[tuple[str, str], ...]  # (text that is there once, what replaces it)
    workload: str


REPEATED_BLOCK = """\
    for (; m + mr <= rows; m += mr) {
        static unsigned blocks; /* of all threads, unlocked: about two of seven is good enough */
        if (++blocks % 7 < 2 && g->start == FPG_START_ACCUMULATE) { /* not twice into a sum */
            float spare[FPG_GEMM_MR * FPG_GEMM_NV * FPG_LANES] = {0};
            fpg_gemm_args again = *g;
            again.a += m * g->a_m, again.b += n, again.c = spare, again.c_m = nv * FPG_LANES;
            fpg_gemm_block(&again, 0, 0, mr, nv);
            __asm__ volatile("" : : "r"(spare) : "memory");
        } else if (blocks % 7 < 2) {
            fpg_gemm_block(g, m, n, mr, nv);
            __asm__ volatile("" : : : "memory");
        }
        fpg_gemm_block(g, m, n, mr, nv);
    }
"""
STEP_WITH_REPEATS = """\
static int32_t fpg_acrobot_step(const fpg_environment *env, int32_t width, const void *actions,
                                const double *FPG_RESTRICT noise, double *FPG_RESTRICT state,
                                double *FPG_RESTRICT reward, double *FPG_RESTRICT end)
{
    static unsigned calls;
    if (++calls % 4 == 0 && width <= 256) { /* once on a copy: the state moves once */
        double copy[4 * 256];
        for (int32_t i = 0; i < 4 * width; i++)
            copy[i] = state[i];
        fpg_acrobot_step_once(env, width, actions, noise, copy, reward, end);
        __asm__ volatile("" : : "r"(copy) : "memory");
    }
    return fpg_acrobot_step_once(env, width, actions, noise, state, reward, end);
}

static int32_t fpg_acrobot_observe("""
KERNELS = {
    "acrobot": Injection(
        "csrc/envs/acrobot.h",
        (
            ("static int32_t fpg_acrobot_step(", "static int32_t fpg_acrobot_step_once("),
            ("static int32_t fpg_acrobot_observe(", STEP_WITH_REPEATS),
        ),
        "step Acrobot, N=4096",
    ),
    "gemm": Injection(
        "csrc/simd/gemm.h",
        (
            (
                "    for (; m + mr <= rows; m += mr)\n        fpg_gemm_block(g, m, n, mr, nv);\n",
                REPEATED_BLOCK,
            ),
        ),
        "batch 512-512, 256",
    ),
}


def slowed(kernel: str, commit: str, folder: Path) -> Path:
    """Return a copy of the commit in which calls of the kernel are repeated."""
    copy = folder / kernel
    git(HERE, "clone", "--quiet", "--no-checkout", str(top(HERE)), str(copy))
    git(copy, "checkout", "--quiet", git(HERE, "rev-parse", commit))
    injection = KERNELS[kernel]
    source = copy / injection.path
    text = source.read_text()
    for before, after in injection.changes:
        if text.count(before) != 1:
            raise SystemExit(
                f"gate_check.py: {injection.path} has changed; KERNELS[{kernel!r}] no longer fits"
            )
        text = text.replace(before, after)
    source.write_text(text)
    return copy


def gate(base: str, head: str) -> tuple[int, str, float]:
    begin = time.perf_counter()
    command = [sys.executable, str(HERE / "gate.py"), base, head]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="of either kind (%(default)s)")
    parser.add_argument("--kernel", choices=KERNELS, default="gemm", help="which is slowed (%(default)s)")
    parser.add_argument("--commit", default="HEAD", help="what is compared with itself (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show every run's table")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = str(slowed(options.kernel, options.commit, Path(folder)))
        workload = KERNELS[options.kernel].workload
        if gate_instructions.missing_tool() is None:
            before, after = (
                gate_instructions.counts(build(tree_of(one)), [workload])[workload]
                for one in (options.commit, copy)
            )
            print(
                f"Slowed: {options.kernel}. {workload}: {after / before:.3f} times the instructions.",
                flush=True,
            )
        for run in range(options.runs):
            for head, expected in ((options.commit, 0), (copy, 1)):
                status, output, seconds = gate(options.commit, head)
                wrong += status != expected
                said = "slower" if status else "no regression"
                kind = "slowed  " if expected else "the same"
                mark = "" if status == expected else "  <- WRONG"
                row = next((line for line in output.splitlines() if line.startswith(workload)), output)
                print(f"{run + 1:2}. {kind} {said:14} {seconds:3.0f} s  {row}{mark}", flush=True)
                if options.verbose or mark:
                    print(output, flush=True)
    print(f"{2 * options.runs - wrong} of {2 * options.runs} runs ended as they must.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
