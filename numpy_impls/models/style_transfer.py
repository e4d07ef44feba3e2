"""Style transfer: an image that keeps the content of one photograph and takes the colours and textures of another.

One convolutional layer with ReLU looks at the image at several scales, each the average pooling of the one before. At
each scale it gives features F (M positions, N filters), and their Gram matrix G = F'F / M says which filters respond
together, wherever that is. With P the content photograph's features at one scale, and A the style's Gram matrices:

    content         = content_weight   1/(2 M N) sum (F - P)^2                       at one scale
    style           = style_weight     sum over scales of  1/(4 N^2) sum (G - A)^2
    total variation = variation_weight 1/(height width) sum of (pixel - next pixel)^2, downwards and to the right

    dF = content_weight (F - P) / (M N) + style_weight F (dG + dG') / M,  dG = (G - A) / (2 N^2)
    dz = dF where z > 0, else 0; then back through the windows and, from scale to scale, through the pooling

The gradient is with respect to the image: the filters are random, and stay as they are. Conventions: `image` is
(height, width, colours), from -0.5 to 0.5; W is (scales, tall, wide, colours, filters), b (scales, filters). Squared
differences have no kink; ReLU's derivative at 0 is taken as 0, as in torch.
Source: Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks" (CVPR), equations 1 to
7, with G divided by M, so that photographs of different sizes can be compared. That one layer of random filters of
several scales, with ReLU, is enough to hold a texture: Ustyuzhaninov, Brendel, Gatys and Bethge 2017, "What does it
take to generate natural textures?" (ICLR).
"""

import numpy as np

from numpy_impls.layers import average_pooling, convolution
from numpy_impls.optimizers.adam import step

POOLING = {"size": 4, "stride": 2}  # windows overlap, or the picture shows the squares of the coarse scales


def look(image, W, b):
    """From fine to coarse, for each scale: z (rows, columns, filters), and the caches of its layer and its pooling."""
    seen, x, pooling = [], image[None], None
    for s in range(len(W)):
        if s > 0:
            x, pooling = average_pooling.forward({"x": x}, **POOLING)
        z, layer = convolution.forward_tuned({"x": x, "W": W[s], "b": b[s]}, padding=W.shape[1] // 2)
        seen.append((z[0], layer, pooling))
    return seen


def content_loss(F, P):
    """Half the mean squared error of the features (positions, filters), and its gradient."""
    return ((F - P) ** 2).sum() / (2 * F.size), (F - P) / F.size


def style_loss(F, A):
    """How far the Gram matrix of F (positions, filters) is from A (filters, filters), and the gradient of F."""
    M, N = F.shape
    G = F.T @ F / M  # (filters, filters)
    dG = (G - A) / (2 * N**2)
    return ((G - A) ** 2).sum() / (4 * N**2), F @ (dG + dG.T) / M  # F stands in F'F twice, so two routes lead back


def total_variation(image):
    """Sum of the squared differences of neighbouring pixels over the number of pixels, and its gradient."""
    pixels = image.shape[0] * image.shape[1]
    down, right = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    dimage = np.zeros_like(image)
    dimage[1:] += 2 * down / pixels
    dimage[:-1] -= 2 * down / pixels
    dimage[:, 1:] += 2 * right / pixels
    dimage[:, :-1] -= 2 * right / pixels
    return ((down**2).sum() + (right**2).sum()) / pixels, dimage


def feature_losses(seen, P, A, content_weight, style_weight, content_scale):
    """Content and style together, and for each scale the gradient of its features, of the shape of z."""
    loss, dFs = 0, []
    for s, (z, _, _) in enumerate(seen):
        F = np.maximum(z, 0).reshape(-1, z.shape[2])  # (positions, filters)
        style, dF = style_loss(F, A[s])
        loss, dF = loss + style_weight * style, style_weight * dF
        if s == content_scale:
            content, dF_content = content_loss(F, P.reshape(F.shape))
            loss, dF = loss + content_weight * content, dF + content_weight * dF_content
        dFs.append(dF.reshape(z.shape))
    return loss, dFs


def back_to_image(seen, dFs):
    """From coarse to fine: through ReLU and the filters of each scale, and through the pooling to the next one."""
    dx = 0
    for s in range(len(seen) - 1, -1, -1):
        z, layer, pooling = seen[s]
        dz = dFs[s] * (z > 0)
        dx = dx + convolution.input_gradient_tuned(dz[None], layer)  # what the coarser scales sent, and this one
        if s > 0:
            dx = average_pooling.backward(dx, pooling)["x"]
    return dx[0]


def loss_and_grads(params, W, b, P, A, *, content_weight, style_weight, variation_weight, content_scale):
    """Return the loss and {"image": its gradient}.

    params: {"image": (height, width, colours)}. P: (rows, columns, filters), the content's features at scale
    `content_scale` (0 is the finest). A: (scales, filters, filters), the style's Gram matrices. `targets` makes both.
    """
    image = params["image"]
    seen = look(image, W, b)
    loss, dFs = feature_losses(seen, P, A, content_weight, style_weight, content_scale)
    variation, dimage = total_variation(image)
    return loss + variation_weight * variation, {"image": back_to_image(seen, dFs) + variation_weight * dimage}


def loss_and_grads_per_sample(params, W, b, P, A, *, content_weight, style_weight, variation_weight, content_scale):
    """The same, one position at a time: positions are the samples that a Gram matrix is the mean of."""
    image = params["image"]
    seen, x, pooling = [], image[None], None
    for s in range(len(W)):
        if s > 0:
            x, pooling = average_pooling.forward_per_sample({"x": x}, **POOLING)
        z, layer = convolution.forward_per_sample({"x": x, "W": W[s], "b": b[s]}, padding=W.shape[1] // 2)
        seen.append((z[0], layer, pooling))
    loss, dimage = total_variation_per_sample(image)
    loss, dx = variation_weight * loss, 0
    for s, (z, layer, pooling) in reversed(list(enumerate(seen))):
        M, N = z.shape[0] * z.shape[1], z.shape[2]
        G, dz = np.zeros_like(A[s]), np.zeros_like(z)
        for r, c in np.ndindex(z.shape[:2]):
            f = np.maximum(z[r, c], 0)  # (filters,)
            G += np.outer(f, f) / M
        loss += style_weight * ((G - A[s]) ** 2).sum() / (4 * N**2)
        for r, c in np.ndindex(z.shape[:2]):
            f = np.maximum(z[r, c], 0)
            df = style_weight * (G - A[s]) @ f / (M * N**2)
            if s == content_scale:
                loss += content_weight * ((f - P[r, c]) ** 2).sum() / (2 * M * N)
                df += content_weight * (f - P[r, c]) / (M * N)
            dz[r, c] = df * (z[r, c] > 0)
        dx = dx + convolution.backward_per_sample(dz[None], layer)["x"]
        if s > 0:
            dx = average_pooling.backward_per_sample(dx, pooling)["x"]
    return loss, {"image": dx[0] + variation_weight * dimage}


def total_variation_per_sample(image):
    """The same, one pixel at a time: each pulls at the pixel below and at the one to the right."""
    height, width, _ = image.shape
    loss, dimage = 0, np.zeros_like(image)
    for r, c in np.ndindex(height, width):
        for there in (r + 1, c), (r, c + 1):
            if there[0] < height and there[1] < width:
                difference = image[there] - image[r, c]  # (colours,)
                loss += (difference**2).sum() / (height * width)
                dimage[there] += 2 * difference / (height * width)
                dimage[r, c] -= 2 * difference / (height * width)
    return loss, dimage


def random_filters(rng, style, scales, size, filters):
    """Draw W and b. Each filter's response to the photograph `style` has mean square 1, so that all scales count."""
    W = rng.normal(size=(scales, size, size, style.shape[2], filters)).astype(style.dtype)
    W -= 0.7 * W.mean(axis=(1, 2), keepdims=True)  # less of a window's mean colour, more of what happens inside it
    b = rng.uniform(-0.5, 0.5, size=(scales, filters)).astype(style.dtype)
    for s, (z, _, _) in enumerate(look(style, W, np.zeros_like(b))):
        W[s] /= np.sqrt((z**2).mean(axis=(0, 1)))
    return W, b


def targets(content, style, W, b, content_scale):
    """P, the content photograph's features at one scale, and A, the style photograph's Gram matrices at all."""
    P = np.maximum(look(content, W, b)[content_scale][0], 0)
    F = [np.maximum(z, 0).reshape(-1, z.shape[2]) for z, _, _ in look(style, W, b)]
    return P, np.stack([F_s.T @ F_s / len(F_s) for F_s in F])


def transfer(image, data, *, steps, lr=0.02, **weights):
    """Move `image` by Adam for that many steps; return it, and the loss before each step.

    data: (W, b, P, A); weights: the keywords of `loss_and_grads`. `image` itself is left as it is.
    """
    params, state, losses = {"image": image}, {}, []
    for _ in range(steps):
        loss, grads = loss_and_grads(params, *data, **weights)
        params = step(params, grads, state, lr=lr)
        params["image"] = params["image"].clip(-0.5, 0.5)  # back to colours that a screen can show
        losses.append(loss)
    return params["image"], losses
