"""Each family of faults names the mistakes that it is for, in words that say what was done and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.diagnosis import proposals
from tests.judge.test_corpus import compared, named

pytestmark = pytest.mark.usefixtures("no_own_lines")

# A mistake of the corpus, the one code that is told, and a part of the message.
TOLD = {
    "m22_poisson_network:tanh_derivative_not_squared": ("different-function", "`output` is not squared in"),
    "m22_poisson_network:half_of_the_sigmoid_slope": ("missing-derivative", "the factor `output` of `output * "),
    "m08_causal_attention:softmax_sum_forgotten": ("diagonal-jacobian", "the term `sum(d_output * output)`"),
    "m08_causal_attention:softmax_axis": ("wrong-axis", "along axis 1 instead of axis 2"),
    "m17_mixture_density:responsibilities_forgotten": ("missing-derivative", "but only in what flows on to"),
    "m28_linear_recurrence:first_two_steps_forgotten": ("truncated-in-time", "taken for the first state's"),
    "m29_rnn_tagger:input_of_the_step_before": ("shifted-in-time", "of the step before its own"),
    "m28_linear_recurrence:delta_after_the_step_in_A": ("wrong-operand", "made with the wrong delta"),
    "m08_causal_attention:keys_and_queries_swapped": ("wrong-operand", "your gradient is the one of W_k"),
    "m26_squeeze_excitation:pixels_reversed": ("flipped", "in reversed order along axis 2"),
    "m24_factorisation_machine:weights_of_first_half": ("missing-path", "the first half only (5 of 10, axis 0)"),
    "m10_embedding_mean:embedding_of_zero_is_padding": ("missing-path", "it is zero at row 2"),
    "m19_cosine_similarity:not_divided_by_the_norm": ("missing-derivative", "lacks the factor 1 / "),
    "m19_cosine_similarity:default_slope": ("different-function", "that of another function, `leaky_relu, slope 0.01`"),
    "m12_conv_maxpool:pooling_spread_as_average": ("different-function", "as if it were an average"),
    "m13_conv1d:stride_forgotten_backwards": ("wrong-operand", "the stride is left out"),
    "m14_tied_autoencoder:squared_error_in_gradient": ("different-function", "squared error of a sigmoid of it"),
    "m51_weibull_survival:shape_forgotten_in_the_scale": ("missing-derivative", "in the derivative of every `"),
    "m53_weight_norm_maxout:norm_jacobian_diagonal": ("diagonal-jacobian", "the sum is left out"),
    "m53_weight_norm_maxout:positive_pieces_win": ("different-function", "every entry above zero"),
    "m53_weight_norm_maxout:pieces_in_another_order": ("wrong-axis", "has its axes in the order (0, 2, 1)"),
    "m43_depthwise_dilated:mixing_not_transposed": ("not-transposed", "channels in and out are not exchanged"),
    "m43_depthwise_dilated:dilation_forgotten_backwards": ("wrong-operand", "the dilation of"),
    "m29_rnn_tagger:tanh_derivative_of_the_old_state": ("shifted-in-time", "in terms of its output, is given"),
    "m01_logistic_elastic_net:lasso_on_the_intercept": ("wrong-part-penalised", "all of theta is penalised"),
    "m50_policy_gradient:tanh_slope_on_one_route_only": ("missing-derivative", "but only for what comes from line 12"),
    "m17_mixture_density:prior_for_responsibility": ("wrong-operand", "in your code, `pi` should be `r`"),
    "m42_skip_gram:table_exchanged": ("wrong-operand", "in your code, `inner[context]` should be `outer[context]`"),
    "m19_cosine_similarity:encoders_data_exchanged": ("wrong-operand", "in your code, `right[:, :4]` should be `left`"),
    "m70_hawkes_process:excitation_in_the_row": ("transposed", "is not taken back to where the entries came from"),
    "m68_unet_signal:pooled_gradient_tiled": ("different-function", "put side by side with all others"),
    "m214_softmax_by_its_jacobian:softmax_jacobian_without_its_other_entries": ("diagonal-jacobian", "sum in `sum(d_"),
    "m225_choices_with_drawn_tastes:spreads_taken_as_uncorrelated": ("missing-path", "on the diagonal are kept"),
    "m232_preferred_answers:word_before_taken_for_the_word_now": ("wrong-operand", "stays in its places"),
    "m213_forger_and_judge:judge_learns_from_the_real_ones_only": ("overwritten", "from the other call is not added"),
    "m217_ratings_fed_again:decoder_gradient_of_the_first_pass_only": ("overwritten", "the last of the 2 times"),
    "m72_vector_quantised:tanh_slope_at_its_input": ("derivative-at-wrong-point", "is given its input"),
    "m260_sigmoid_net_kept_in_a_class:smoothing_spread_over_the_other_classes_in_both": (
        "different-function",
        "your forward pass parts with the reference at `add`",
    ),
    "m218_large_margin_neighbours:weights_of_pull_and_push_swapped": (
        "wrong-term-weight",
        "the weights of 'pull' and 'push' are exchanged: it has 0.6667 times the one and 1.5 times the other",
    ),
}
# The same of candidates whose gradient is the derivative of their own loss.
CONSISTENT = {
    "m18_infonce:without_activation_in_both": "every `tanh` is left out",
    "m18_infonce:temperature_multiplied_in_both": "is done with `*`",
    "m20_multiclass_hinge:margin_of_a_half_in_both": "is 0.5 instead of 1",
    "m20_multiclass_hinge:squared_hinge_in_both": "square is taken of `",
    "m22_poisson_network:offset_without_logarithm_in_both": "` is left out",
    "m08_causal_attention:mask_of_the_past_in_both": "keeps the other triangle",
    "m12_conv_maxpool:average_pooling_in_both": "takes the average of each window",
    "m13_conv1d:padding_at_the_end_in_both": "pads at the other end",
    "m28_linear_recurrence:first_state_zero_in_both": "s0 is taken to be zero",
    "m56_conv_batch_norm:each_image_normalised_in_both": "go along the axes 2, 3 instead of",
    "m66_list_wise_ranking:worst_documents_first_in_both": "`sort` has the smallest first",
    "m68_unet_signal:halves_pooled_for_neighbours_in_both": "every `avg_pool2d` takes the mean of entries a part",
    "m33_saturation_curve:logarithm_to_base_ten_in_both": "log10(1 + z) stands where the reference has",
}


# Two mistakes of which one sees what the other has changed, or that meet at one parameter; three.
TOGETHER = {
    "m10_embedding_mean:tanh_derivative_forgotten+W_not_transposed+length_forgotten": [
        "missing-derivative",
        "not-transposed",
        "wrong-scale",
    ],
}


def findings(name):
    return compared(named(name), diagnose=True).findings


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told(name):
    code, words = TOLD[name]
    told = findings(name)
    assert {finding.code for finding in told} == {code}
    assert words in told[0].message


@pytest.mark.usefixtures("no_changes_of_code")
def test_another_array_times_a_constant():
    (finding,) = findings("m26_squeeze_excitation:V_from_the_ungated")
    assert finding.code == "wrong-operand"
    assert "10 times the result of `" in finding.message


@pytest.mark.usefixtures("no_changes_of_code")
def test_a_number_in_the_place_of_an_array():
    def reference(p, x, lengths):
        return torch.tanh((x @ p["W"]).sum(1) / lengths[:, None]).sum()

    def padding_counted(p, x, lengths):
        h = np.tanh((x @ p["W"]).sum(axis=1) / lengths[:, None])
        return h.sum(), {"W": np.einsum("ntf,nk->fk", x, (1 - h**2) / x.shape[1])}

    rng = np.random.default_rng(0)
    lengths, params = rng.integers(2, 6, 5).astype(float), {"W": rng.normal(size=(3, 2))}
    (finding,) = compare_gradients(padding_counted, reference, params, rng.normal(size=(5, 6, 3)), lengths).findings
    assert finding.code == "wrong-operand"
    words = ", 1/6 (one over 6, the length of axis 1 of x) stands for `1 / second` in `d_output / second`"
    assert finding.message.endswith(words)


@pytest.mark.parametrize("name", TOGETHER)
def test_several_mistakes(name):
    assert sorted(finding.code for finding in findings(name)) == TOGETHER[name]


@pytest.mark.parametrize("name", CONSISTENT)
def test_another_function(name):
    (finding,) = findings(name)
    assert finding.code in ("different-function", "wrong-axis")
    assert CONSISTENT[name] in finding.message
    assert "Your loss and your gradient belong together, but to this function." in finding.message


def test_a_broadcast_inside_the_reference():
    (finding,) = findings("m33_saturation_curve:targets_as_row")
    assert finding.code == "broadcast"
    assert "became (13, 13): every sample against every other" in finding.message


def test_an_unnamed_constant_does_not_hide_the_rule_that_holds():
    """A multiple of the right gradient, but another one at other parameters."""
    (finding,) = findings("m18_infonce:temperature_forgotten_backwards")
    assert finding.code == "missing-derivative"
    assert "lacks the factor 1 / the result of `" in finding.message


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("m17_mixture_density:mu_sign+tanh_derivative_forgotten", ["missing-derivative", "wrong-sign"]),
        ("m43_depthwise_dilated:labels_forgotten+filters_turned_round", ["flipped", "missing-path"]),
    ],
)
def test_two_mistakes(name, codes):
    assert sorted(finding.code for finding in findings(name)) == codes


def test_a_family_that_fails_does_not_stop_the_others(monkeypatch, caplog):
    def broken(survey):
        raise ZeroDivisionError("no such case")

    monkeypatch.setattr(proposals, "FAMILIES", (broken, *proposals.FAMILIES))
    (finding,) = findings("m22_poisson_network:sigmoid_derivative_forgotten")
    assert finding.code == "missing-derivative"
    assert "no such case" in caplog.text
    caplog.clear()
