"""One large run on the workers of Ray Train: `python examples/ray_train.py [workers]`.

Ray starts the workers, on as many machines as it takes, and connects them by torch.distributed, over which
fastpg shares the work of each iteration. What comes out is to the bit what one process makes. With a folder
that all machines see, `train(run=...)` and `fastpg.resume` in the worker's function go on after a failure.
"""

import sys
import tempfile

import ray
from ray.train import Checkpoint, RunConfig, ScalingConfig, report
from ray.train.torch import TorchConfig, TorchTrainer

import fastpg

SETTINGS = {
    "env_id": "Pendulum-v1",
    "algorithm": fastpg.PPO(gamma=0.95, minibatches=8, learning_rate=1e-3),
    "num_envs": 64,
    "horizon": 200,
}


def work(settings):
    fastpg.set_num_threads(1)
    communicator = fastpg.distributed.torch()
    run = fastpg.train(**settings, communicator=communicator)
    mean_return = float(run.history["mean_return"][-1])
    communicator.close()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if communicator.rank == 0:
            run.policy.save(f"{folder}/policy.safetensors")
            checkpoint = Checkpoint.from_directory(folder)
        report({"mean_return": mean_return}, checkpoint=checkpoint)


def main(num_workers: int = 2, total_steps: int = 200_000) -> tuple[float, fastpg.Policy]:
    """Print the mean return; return it, and the policy."""
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        trainer = TorchTrainer(
            work,
            train_loop_config=SETTINGS | {"total_steps": total_steps},
            scaling_config=ScalingConfig(num_workers=num_workers, resources_per_worker={"CPU": 1}),
            torch_config=TorchConfig(backend="gloo"),
            run_config=RunConfig(storage_path=storage),
        )
        result = trainer.fit()
        with result.checkpoint.as_directory() as folder:
            policy = fastpg.Policy.load(f"{folder}/policy.safetensors")
    print(f"mean return {result.metrics['mean_return']:.0f} with {num_workers} workers")
    return result.metrics["mean_return"], policy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
