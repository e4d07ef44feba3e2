"""The loss that is printed is the plain sum of the three terms, the gradient that of the weighted sum.

Symptom: the picture is right, and the printed loss rises while it is made, from 0.07 to 0.13 in 100 steps.
Why: gradient and loss must belong to one function, or the loss says nothing about the descent.
Fix: return the loss with the weights that the gradient has
"""

from numpy_impls.models.style_transfer import back_to_image, feature_losses, look, step, total_variation

__all__ = ["CODES", "loss_and_grads", "step"]

CODES = ("wrong-loss",)


def loss_and_grads(params, W, b, P, A, *, content_weight, style_weight, variation_weight, content_scale):
    image = params["image"]
    seen = look(image, W, b)
    loss, _ = feature_losses(seen, P, A, 1, 1, content_scale)
    _, dFs = feature_losses(seen, P, A, content_weight, style_weight, content_scale)
    variation, dimage = total_variation(image)
    return loss + variation, {"image": back_to_image(seen, dFs) + variation_weight * dimage}
