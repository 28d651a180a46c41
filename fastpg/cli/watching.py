"""`--eval-every`, `--patience` and `--tensorboard`: the callbacks that a command line asks for."""

from pathlib import Path
from typing import Any

from fastpg.callbacks import Callback, EarlyStopping, Evaluate, TensorBoard

OPTIONS = ("eval_every", "patience", "tensorboard")


def are_asked_for(options: Any) -> bool:
    """Return whether there are any."""
    return any(getattr(options, name) is not None for name in OPTIONS)


def callbacks(options: Any, run: Path | None, board: str | Path | None) -> list[Callback]:
    """Return those of a run; `board` is the folder for TensorBoard, None that in the folder of the run."""
    asked: list[Callback] = []
    if options.eval_every is not None:
        if run is None and options.patience is None and options.tensorboard is None:
            raise ValueError("--eval-every writes into the folder of a run: pass --run as well")
        asked.append(Evaluate(options.eval_every))
    if options.patience is not None:
        monitor = None if options.eval_every is None else "eval/mean_reward"
        asked.append(EarlyStopping(options.patience, monitor=monitor))
    if options.tensorboard is not None:
        asked.append(TensorBoard(board))
    return asked
