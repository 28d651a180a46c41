"""What was meant by a name that there is not."""

import difflib
from collections.abc import Iterable

ELSEWHERE = {  # what settings are called in other libraries
    "clip_coef": "clip_range",
    "ent_coef": "entropy_coef",
    "gae_lambda": "lam",
    "lr": "learning_rate",
    "n_envs": "num_envs",
    "n_epochs": "epochs",
    "n_steps": "horizon",
    "num_minibatches": "minibatches",
    "num_steps": "horizon",
    "timesteps": "total_steps",
    "total_timesteps": "total_steps",
    "update_epochs": "epochs",
}


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return which of the known names was meant, or None."""
    names = list(known)
    if ELSEWHERE.get(name) in names:
        return ELSEWHERE[name]
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: which of the known names was meant, or which there are."""
    names = list(known)
    close = meant(name, names)
    return f"did you mean {close!r}?" if close else f"there are {', '.join(names)}"
