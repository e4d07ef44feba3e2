"""Parameters a chunk at a time: what the tuned forms of the update rules share.

A rule passes over its arrays eight to ten times. Arrays that do not fit the cache come from main memory at each pass; a
chunk comes once, and stays until its last pass is done.
"""

import numpy as np

CHUNK = 65536  # elements: 512 KB of float64


def results(params, out):
    """An array for each parameter to write its new value to: one of `out`, or a new one where `out` is None.

    Raises ValueError where an array of `out` is not C-contiguous: no part of it could be written to as a flat view.
    """
    if out is None:
        return {name: np.empty(theta.shape, theta.dtype) for name, theta in params.items()}
    for name in params:
        if not out[name].flags.c_contiguous:
            raise ValueError(f"out[{name!r}] must be C-contiguous")
    return {name: out[name] for name in params}


def in_chunks(params, grads, new, state, *, kept, weight_decay=0.0, fill=0.0):
    """Yield (theta, g, result, work, *kept) for each chunk of each parameter, all flat views of the same length.

    g: the gradient, and weight_decay theta added to it. result: where the new theta belongs, a part of `new`. work: an
    array to work in, which all chunks share. kept: so many arrays that last from step to step, in state["chunks"]; they
    start as `fill`. Raises KeyError for a parameter without a gradient.
    """
    lasting = state.setdefault("chunks", {})
    for name, theta in params.items():
        if name not in lasting:
            lasting[name] = kept_chunks(theta, kept, fill)
        pieces = zip(chunks(theta), chunks(grads[name]), chunks(new[name]), lasting[name], strict=True)
        for theta_i, g, result, (decayed, *arrays) in pieces:
            if weight_decay:
                np.multiply(theta_i, weight_decay, out=decayed)
                g = np.add(decayed, g, out=decayed)
            yield theta_i, g, result, *arrays


def kept_chunks(theta, kept, fill):
    """For each chunk of a parameter: two arrays to work in, which all chunks share, and its part of what is kept."""
    # Zeros take no memory before they are written to: what an option leaves unused costs nothing.
    arrays = [np.zeros(theta.shape, theta.dtype) for _ in range(kept)]
    for array in arrays if fill else ():
        array.fill(fill)
    shared = np.empty((2, min(theta.size, CHUNK)), theta.dtype)
    parts = zip(*map(chunks, arrays), strict=True)
    return [(*shared[:, : part[0].size], *part) for part in parts]


def chunks(array):
    """Flat views of at most CHUNK elements each; copies where the array's order in memory allows no view."""
    flat = array.reshape(-1)
    return [flat] if flat.size <= CHUNK else [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]
