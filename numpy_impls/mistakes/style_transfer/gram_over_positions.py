"""The Gram matrix is F F', of positions, where it should be F'F, of filters.

Symptom: "operands could not be broadcast together"; with two photographs of one size, and A made in the same way, it
    would run, and the image would become the style photograph itself.
Why: F has a row for each position. F'F sums over positions and forgets where things are, which is what makes it a
    style; F F' sums over filters and compares every position with every other.
Fix: G = F.T @ F / M
"""

import numpy as np

from numpy_impls.models.style_transfer import back_to_image, content_loss, look, step, total_variation

__all__ = ["CODES", "loss_and_grads", "step"]

CODES = ("raised",)


def style_loss(F, A):
    M, N = F.shape
    G = F @ F.T / M
    dG = (G - A) / (2 * N**2)
    return ((G - A) ** 2).sum() / (4 * N**2), F @ (dG + dG.T) / M


def feature_losses(seen, P, A, content_weight, style_weight, content_scale):
    loss, dFs = 0, []
    for s, (z, _, _) in enumerate(seen):
        F = np.maximum(z, 0).reshape(-1, z.shape[2])
        style, dF = style_loss(F, A[s])
        loss, dF = loss + style_weight * style, style_weight * dF
        if s == content_scale:
            content, dF_content = content_loss(F, P.reshape(F.shape))
            loss, dF = loss + content_weight * content, dF + content_weight * dF_content
        dFs.append(dF.reshape(z.shape))
    return loss, dFs


def loss_and_grads(params, W, b, P, A, *, content_weight, style_weight, variation_weight, content_scale):
    image = params["image"]
    seen = look(image, W, b)
    loss, dFs = feature_losses(seen, P, A, content_weight, style_weight, content_scale)
    variation, dimage = total_variation(image)
    return loss + variation_weight * variation, {"image": back_to_image(seen, dFs) + variation_weight * dimage}
