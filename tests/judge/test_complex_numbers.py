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


def findings(*changes):
    """What is found in code whose text cannot be read: its numbers are all there is."""
    text = inspect.getsource(seen_through_a_lens_by_hand)
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    space = {"np": np}
    exec(text, space)
    return compare_gradients(space["seen_through_a_lens_by_hand"], seen_through_a_lens, PARAMS, X).findings


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
        (("lens.conj().T", "lens.T"), "wrong-operand", "result of `_fft_c2c` (line 17) lacks a conjugate"),
        (("np.fft.ifft(dwave) * x.shape[1]", "np.fft.fft(dwave)"), "different-function", "is done once more"),
        (("np.fft.ifft(dwave) * x.shape[1]", "np.fft.ifft(dwave)"), "wrong-scale", "1/5"),
        (("/ np.abs(seen) / len(x)\n", "/ len(x)\n"), "missing-derivative", "sqrt"),
        (("seen / np.abs(seen)", "seen.real / np.abs(seen)"), "missing-path", "seen.imag"),
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
