"""fastpg and torch in one process and in its children: both have worked before it forks or spawns."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("torch")

WORK = """
import multiprocessing
import sys

import torch
from torch import nn

import fastpg
import fastpg.torch as fpt


def work():
    # A rollout, a loss and its gradient, and autograd's own: everything that has threads.
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    batch = fpt.collect("CartPole-v1", module, 16, value=critic, num_envs=256)
    fpt.pg_loss(module, batch.obs, batch.actions, batch.rewards).backward()
    (critic(batch.obs)[..., 0] - batch.rewards).square().mean().backward()
    parts = [batch.obs, batch.values, module[0].weight.grad]
    return b"".join(part.detach().numpy().tobytes() for part in parts), critic[0].weight.grad.tolist()


def child(queue):
    queue.put(work())


if __name__ == "__main__":
    fastpg.set_num_threads(3)
    torch.set_num_threads(TORCH_THREADS)
    ours, theirs = work()
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    children = [context.Process(target=child, args=(queue,)) for _ in range(int(sys.argv[2]))]
    for one in children:
        one.start()
    results = [queue.get(timeout=90) for _ in children]
    for one in children:
        one.join(60)
    assert not any(one.exitcode for one in children)
    # To the bit where it is ours; torch may add up in another order with other threads.
    assert all(got == ours for got, _ in results)
    assert all(torch.allclose(torch.tensor(got), torch.tensor(theirs), atol=1e-6) for _, got in results)
    assert work()[0] == ours
    print("same")
"""


def run(tmp_path: Path, method: str, num_children: int, torch_threads: int) -> None:
    script = tmp_path / "work.py"  # a file, so that a spawned child can import it
    script.write_text(WORK.replace("TORCH_THREADS", str(torch_threads)))
    command = [sys.executable, str(script), method, str(num_children)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["same"], done.stderr


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_forked_children_compute_the_same_after_both_have_worked_in_the_parent(tmp_path):
    # One thread of torch's: GNU's OpenMP, which torch brings, does not survive a fork with more.
    run(tmp_path, "fork", 2, 1)


@pytest.mark.parametrize("method", [one for one in multiprocessing.get_all_start_methods() if one != "fork"])
def test_a_child_that_starts_anew_computes_the_same_with_several_threads_of_each(tmp_path, method):
    run(tmp_path, method, 1, 3)
