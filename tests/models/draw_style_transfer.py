"""Draw a style transfer with the hand-written NumPy, from the two photographs that scikit-learn ships:

    python -m tests.models.draw_style_transfer out.png [STEPS]

writes the content, the style and the result side by side; 300 steps take about 20 seconds. The photographs are
china.jpg by danielbuechele and flower.jpg by vultilion (Flickr), both under the Creative Commons licence CC BY 2.0.
"""

import sys

import numpy as np
from PIL import Image

from numpy_impls.models import style_transfer

WEIGHTS = {"content_weight": 0.3, "style_weight": 30.0, "variation_weight": 0.3, "content_scale": 0}
PETALS = (160, 80, 460, 280)  # left, top, right, bottom of the blossom in flower.jpg


def photograph(name, height, width, box=None):
    """One of scikit-learn's photographs, cut to `box` and averaged down to (height, width, 3), from -0.5 to 0.5."""
    from sklearn.datasets import load_sample_image  # takes a second: paid where it is used

    picture = Image.fromarray(load_sample_image(name)).resize((width, height), Image.Resampling.BOX, box=box)
    return np.asarray(picture) / 255 - 0.5


def scene(height, width, *, scales, size, filters, seed=0):
    """The temple, the blossom, and the data (W, b, P, A) that turn one into the other's style."""
    content = photograph("china.jpg", height, width)
    style = photograph("flower.jpg", height, width, PETALS)
    W, b = style_transfer.random_filters(np.random.default_rng(seed), style, scales, size, filters)
    P, A = style_transfer.targets(content, style, W, b, WEIGHTS["content_scale"])
    return content, style, (W, b, P, A)


def save(path, *images):
    """Write images (height, width, 3), from -0.5 to 0.5, side by side as a PNG, every pixel two by two."""
    gap = np.full((len(images[0]), 4, 3), 0.5)
    row = np.concatenate([part for image in images for part in (gap, image)][1:], axis=1)
    pixels = (row.clip(-0.5, 0.5) * 255 + 127.5).round().astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    Image.fromarray(pixels).save(path, optimize=True)


def main(path, steps=300):
    content, style, data = scene(128, 192, scales=4, size=5, filters=48)
    result, losses = style_transfer.transfer(content, data, steps=int(steps), **WEIGHTS)
    save(path, content, style, result)
    print(f"{path}: loss {losses[0]:.3g} at first, {losses[-1]:.3g} after {steps} steps")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
