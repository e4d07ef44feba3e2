"""The style's weight is in the loss that is printed, and not in the gradient.

Symptom: the printed loss reacts to the style weight, the picture does not; with a weight of 30 the loss stops at 0.19,
    where the right gradient brings it to 0.05.
Why: a constant in front of a term stands in front of its derivative too. Without it the image descends another loss,
    one with the weight 1, and the printed one only looks on.
Fix: dF = style_weight * dF
"""

import numpy as np

from numpy_impls.models.style_transfer import back_to_image, content_loss, look, step, style_loss, total_variation

__all__ = ["CODES", "loss_and_grads", "step"]

CODES = ("wrong-term-weight",)


def feature_losses(seen, P, A, content_weight, style_weight, content_scale):
    loss, dFs = 0, []
    for s, (z, _, _) in enumerate(seen):
        F = np.maximum(z, 0).reshape(-1, z.shape[2])
        style, dF = style_loss(F, A[s])
        loss = loss + style_weight * style
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
