"""References that compute with complex numbers on the way are taken apart like all others."""

import inspect

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.tape import record


def seen_through_a_lens(p, x):
    """The power behind a Fourier transform and a complex matrix; all parameters are real."""
    field = torch.complex(p["re"], p["im"])
    lens = torch.polar(torch.ones_like(p["w"]), p["w"])
    wave = torch.fft.fft(x * field)
    seen = wave @ lens
    power = seen.real**2 + seen.imag**2
    return power.sqrt().sum() / len(x)


def seen_through_a_lens_by_hand(p, x):
    field = p["re"] + 1j * p["im"]
    lens = np.exp(1j * p["w"])
    wave = np.fft.fft(x * field)
    seen = wave @ lens
    loss = np.abs(seen).sum() / len(x)
    dseen = seen / np.abs(seen) / len(x)
    dlens = wave.conj().T @ dseen
    dwave = dseen @ lens.conj().T
    dfield = (x * np.fft.ifft(dwave) * x.shape[1]).sum(axis=0)
    dw = (dlens * np.conj(1j * lens)).real
    return loss, {"re": dfield.real, "im": dfield.imag, "w": dw}


RNG = np.random.default_rng(0)
PARAMS = {"re": RNG.normal(size=5), "im": RNG.normal(size=5), "w": RNG.normal(size=(5, 3))}
X = RNG.normal(size=(4, 5))


def findings(*changes, of=seen_through_a_lens_by_hand, reference=seen_through_a_lens, given=(PARAMS, X)):
    """What is found in code whose text cannot be read: its numbers are all there is."""
    text = inspect.getsource(of)
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    space = {"np": np}
    exec(text, space)
    return compare_gradients(space[of.__name__], reference, *given).findings


def test_the_tape_has_autograds_numbers():
    assert compare_gradients(seen_through_a_lens_by_hand, seen_through_a_lens, PARAMS, X).ok
    tape = record(seen_through_a_lens, PARAMS, (X,))
    assert tape.of_complex
    for name, right in seen_through_a_lens_by_hand(PARAMS, X)[1].items():
        np.testing.assert_allclose(tape.clean.arrays()[name], right, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("wave.conj().T", "wave.T"), "wrong-operand", "result of `polar` (line 16) lacks a conjugate"),
        (("lens.conj().T", "lens.T"), "wrong-operand", "(line 17) lacks a conjugate"),
        (("np.fft.ifft(dwave) * x.shape[1]", "np.fft.fft(dwave)"), "different-function", "is done once more"),
        (("np.fft.ifft(dwave) * x.shape[1]", "np.fft.ifft(dwave)"), "wrong-scale", "1/5"),
        (("/ np.abs(seen) / len(x)\n", "/ len(x)\n"), "missing-derivative", "sqrt"),
        (("seen / np.abs(seen)", "seen.real / np.abs(seen)"), "missing-path", "nothing of the gradient flows back"),
        (("dfield.imag", "-dfield.imag"), "wrong-sign", "minus"),
    ],
)  # fmt: skip
def test_one_broken_rule(change, code, message):
    (finding,) = findings(change)
    assert finding.code == code
    assert message in finding.message


def test_the_right_rule_has_its_conjugate():
    assert findings(("lens.conj().T", "lens.T"))[0].mend == "dwave = dseen @ lens.conj().T"


def test_two_broken_rules():
    found = findings(("wave.conj().T @ dseen", "wave.conj().T @ dseen * 2"), ("lens.conj().T", "lens.T"))
    assert {one.code for one in found} == {"wrong-scale", "wrong-operand"}


def test_the_conjugate_in_both_passes():
    (found,) = findings(("np.exp(1j *", "np.exp(-1j *"), ("np.conj(1j", "np.conj(-1j"))
    assert found.code == "different-function"


def filtered(p, x):
    """A signal, weighted, with its frequencies weighted too: half of them are kept, since it is real."""
    half = torch.fft.rfft(x * p["a"])
    kept = half * torch.complex(p["re"], p["im"])
    return torch.fft.irfft(kept, n=x.shape[1]).sin().sum()


def filtered_by_hand(p, x):
    n = x.shape[1]
    half = np.fft.rfft(x * p["a"])
    weights = p["re"] + 1j * p["im"]
    y = np.fft.irfft(half * weights, n=n)
    dkept = np.fft.rfft(np.cos(y)) / n
    dkept[:, 1:] *= 2
    dweights = (half.conj() * dkept).sum(axis=0)
    dhalf = weights.conj() * dkept
    dhalf[:, 1:] /= 2
    da = (x * np.fft.irfft(dhalf, n=n) * n).sum(axis=0)
    return np.sin(y).sum(), {"a": da, "re": dweights.real, "im": dweights.imag}


FILTER = {"a": RNG.normal(size=7), "re": RNG.normal(size=4), "im": RNG.normal(size=4)}
SIGNALS = RNG.normal(size=(5, 7))


@pytest.mark.parametrize(
    ("change", "codes", "message"),
    [
        ([], set(), ""),
        ([("    dkept[:, 1:] *= 2\n", "")], {"wrong-scale"}, "stand for two are counted once"),
        ([("dkept[:, 1:] *=", "dkept *=")], {"wrong-scale"}, "all frequencies are counted twice"),
        ([("    dhalf[:, 1:] /= 2\n", "")], {"wrong-scale"}, "stand for two are counted in full"),
        ([("    dhalf[:, 1:] /= 2\n", ""), ("half.conj()", "half")], {"wrong-scale", "wrong-operand"}, ""),
    ],
)
def test_half_a_spectrum(change, codes, message):
    found = findings(*change, of=filtered_by_hand, reference=filtered, given=(FILTER, SIGNALS))
    assert {one.code for one in found} == codes
    assert all(message in one.message for one in found)
