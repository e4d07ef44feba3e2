"""A two-dimensional convolution in torch, channels last, with W (tall, wide, in, out) as on the hand-written side."""

import torch


def forward(inputs, *, stride=1, padding=0):
    """inputs: x (batch, height, width, in), W (tall, wide, in, out), b (out,); returns (batch, rows, columns, out)."""
    x, W = inputs["x"].permute(0, 3, 1, 2), inputs["W"].permute(3, 2, 0, 1)
    return torch.conv2d(x, W, inputs["b"], stride=stride, padding=padding).permute(0, 2, 3, 1)
