"""Derivatives by central differences, for what is to be checked against them."""

import numpy as np


def central_differences(function, theta, step=1e-6):
    """d function / d theta, (..., P), for a function with values (...)."""
    columns = []
    for i in range(len(theta)):
        ahead, behind = theta.copy(), theta.copy()
        ahead[i] += step
        behind[i] -= step
        columns.append((function(ahead) - function(behind)) / (2 * step))
    return np.stack(columns, axis=-1)
