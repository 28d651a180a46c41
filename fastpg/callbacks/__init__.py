"""Callbacks for `train` and `resume`; several go together as a list, and are called in its order.

    fastpg.train("CartPole-v1", callback=[Evaluate(50_000), TensorBoard("runs/cartpole")])

A function of a TrainProgress is a callback as well (docs/recipes.md: Weights & Biases, MLflow).
"""

from fastpg.callbacks.early_stopping import EarlyStopping
from fastpg.callbacks.evaluate import Evaluate, Evaluation
from fastpg.callbacks.tensorboard import TensorBoard
from fastpg.training.callbacks import Callback

__all__ = ["Callback", "EarlyStopping", "Evaluate", "Evaluation", "TensorBoard"]
