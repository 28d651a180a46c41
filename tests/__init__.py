"""The tests, in folders by topic.

core        the compiled core: kernels, threads, what importing brings in
networks    policies and value functions: heads, observations, copies, files
envs        native, jit and C environments, Gymnasium's, vector environments, Stable-Baselines3's
batches     collecting, returns, gradients of batches and of the fused pass
training    runs of every algorithm, and the bits that they leave
analysis    exact gradients, unbiasedness, diagnostics, the oracle itself
torch       fastpg.torch
cli         the command line
video       policies at work, as pictures that move
arguments   what is refused, and the sentence that says so
docs        README, documents, examples, benchmarks
fuzz        odd calls of everything public; `python -m tests.fuzz` makes many
sanitized   programs for .ci/sanitize
support     what several test modules need; no test module imports another
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
