"""The words for what weighs a step: forms of Phi, baselines that are means, what a sum is divided by."""

from typing import Literal

Form = Literal["total", "reward_to_go", "q", "td", "gae"]
MeanBaseline = Literal["batch_mean", "timestep_mean"]
Normalize = Literal["trajectory", "timestep"]
FORMS: tuple[Form, ...] = ("total", "reward_to_go", "q", "td", "gae")
MEAN_BASELINES: tuple[MeanBaseline, ...] = ("batch_mean", "timestep_mean")
NORMALIZE: tuple[Normalize, ...] = ("trajectory", "timestep")
