"""Style transfer in torch: content, style and total variation of an image, seen by random filters at several scales."""

import torch

from reference_impls.layers import average_pooling, convolution

POOLING = {"size": 4, "stride": 2}


def loss(params, W, b, P, A, *, content_weight, style_weight, variation_weight, content_scale):
    """Three named terms whose sum is the loss; shapes as on the hand-written side."""
    image, N = params["image"], W.shape[-1]
    x, style = image[None], 0
    for s in range(len(W)):
        if s > 0:
            x = average_pooling.forward({"x": x}, **POOLING)
        z = convolution.forward({"x": x, "W": W[s], "b": b[s]}, padding=W.shape[1] // 2)[0]
        F = torch.relu(z).reshape(-1, N)  # (positions, filters)
        G = F.T @ F / len(F)
        style = style + ((G - A[s]) ** 2).sum() / (4 * N**2)
        if s == content_scale:
            content = ((F - P.reshape(-1, N)) ** 2).mean() / 2
    down, right = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    variation = ((down**2).sum() + (right**2).sum()) / (image.shape[0] * image.shape[1])
    return {
        "content": content_weight * content,
        "style": style_weight * style,
        "total_variation": variation_weight * variation,
    }
