"""What `tidlq.lint` finds in networks, and what it does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tidlq
from small_networks import SmallNetwork
from tidlq.errors import GateError, ModelError, OptionError
from tidlq.linting import Finding, Rule, Severity


def found(report: tidlq.LintReport, rule: Rule) -> list[Finding]:
    return [item for item in report.findings if item.rule is rule]


def classifier(net: SmallNetwork, features: str, channels: int) -> onnx.ModelProto:
    pooled = net.node("Flatten", net.node("GlobalAveragePool", features))
    return net.model(net.node("Gemm", pooled, net.random(channels, 10), name="scores"))


def plain(*, norm: bool = False, bias: bool = True) -> onnx.ModelProto:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 16, 16), (8, 3, 3, 3), name="stem", bias=bias)
    x = net.node("Relu", net.batch_norm(x, 8) if norm else x)
    x = net.conv(x, (8, 1, 3, 3), name="depthwise", group=8, bias=bias)
    return classifier(net, net.node("Relu", x), 8)


def test_a_plain_classifier_has_no_findings() -> None:
    report = tidlq.lint(plain(), "AM68A")
    assert report.findings == ()
    assert report.accelerated == report.layers
    assert report.is_clean
    report.check()


def test_the_same_fault_of_several_layers_is_one_finding() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 8, 16, 16), (8, 1, 1, 1), group=8, name="one", pads=[1, 1, 1, 1])
    x = net.conv(net.node("Sigmoid", x), (8, 1, 1, 1), group=8, name="two")
    report = tidlq.lint(classifier(net, x, 8), "AM68A")
    (finding,) = found(report, Rule.NOT_ACCELERATED)
    assert (finding.severity, finding.layers) == (Severity.WARNING, ("one", "two"))
    assert finding.sentence.startswith("AM68A does not accelerate Conv: a depthwise 1x1 kernel")
    assert report.layers - report.accelerated == 2
    with pytest.raises(GateError, match="1 finding that is more than a hint: not-accelerated"):
        report.check()


def test_without_a_device_nothing_is_said_about_devices() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 8, 32, 32), (8, 8, 3, 3), strides=[2, 1], pads=[1, 1, 1, 1])
    report = tidlq.lint(classifier(net, x, 8))
    assert (report.device, report.findings) == (None, ())


def test_the_device_may_come_with_the_options() -> None:
    assert tidlq.lint(plain(), options={"device": "J722S"}).device == "AM67A"
    with pytest.raises(OptionError, match="another device"):
        tidlq.lint(plain(), "AM68A", {"device": "AM62A"})
    with pytest.raises(OptionError, match="AM68A"):
        tidlq.lint(plain(), "AM68")


def transposed() -> onnx.ModelProto:
    net = SmallNetwork()
    x = net.input(1, 8, 8, 8)
    y = net.node("ConvTranspose", x, net.random(8, 4, 2, 2), strides=[2, 2], name="up")
    return net.model(y)


@pytest.mark.parametrize(
    ("device", "options", "count"),
    [
        ("AM62A", {"tensor_bits": 16}, 1),
        ("AM67A", {"output_feature_16bit_names_list": "up"}, 1),
        ("AM62A", {}, 0),
        ("AM68A", {"tensor_bits": 16}, 0),
    ],
)
def test_wide_deconvolution_is_an_error_where_it_is_missing(
    device: str, options: dict[str, object], count: int
) -> None:
    wide = found(tidlq.lint(transposed(), device, options), Rule.WIDE_DECONVOLUTION)
    assert len(wide) == count
    assert all(item.severity is Severity.ERROR and item.layers == ("up",) for item in wide)


def test_a_convolution_without_batch_norm_is_seen_before_folding() -> None:
    report = tidlq.lint(plain(norm=True))
    (finding,) = found(report, Rule.NO_BATCH_NORM)
    assert (finding.layers, finding.severity) == (("depthwise",), Severity.WARNING)
    assert report.unchecked == ()


def test_a_folded_file_is_not_accused() -> None:
    report = tidlq.lint(plain(norm=False))
    assert found(report, Rule.NO_BATCH_NORM) == []
    assert "cannot be told" in report.unchecked[0]


def test_convolutions_without_bias_never_had_a_batch_norm() -> None:
    depthwise, other = found(tidlq.lint(plain(bias=False)), Rule.NO_BATCH_NORM)
    assert {depthwise.layers, other.layers} == {("depthwise",), ("stem",)}


def test_the_last_convolution_and_gates_may_go_without_batch_norm() -> None:
    net = SmallNetwork()
    x = net.batch_norm(net.conv(net.input(1, 3, 16, 16), (8, 3, 3, 3), name="stem"), 8)
    gate = net.node("Sigmoid", net.conv(net.node("GlobalAveragePool", x), (8, 8, 1, 1)))
    y = net.conv(net.node("Mul", x, gate), (2, 8, 1, 1), name="head")
    assert found(tidlq.lint(net.model(y)), Rule.NO_BATCH_NORM) == []


@pytest.mark.parametrize(("size", "count"), [(100.0, 1), (10.0, 0), (1e6, 0)])
def test_large_weights_of_several_channels_are_outliers(size: float, count: int) -> None:
    net = SmallNetwork()
    x = net.input(1, 64, 8, 8)
    weight = net.rng.normal(size=(8, 64, 3, 3))
    weight[3:5, 5, 1, 1] = size
    y = net.node("Conv", x, net.constant(weight), net.random(8), name="conv")
    outliers = found(tidlq.lint(classifier(net, y, 8)), Rule.WEIGHT_OUTLIERS)
    assert len(outliers) == count
    for finding in outliers:
        assert finding.layers == ("conv",)
        assert "in 2 of 8 channels" in finding.sentence


def test_outliers_are_judged_per_channel_whatever_their_gain() -> None:
    net = SmallNetwork()
    gains = np.geomspace(1e-3, 1e3, 8).reshape(8, 1, 1, 1)
    weight = net.rng.normal(size=(8, 64, 3, 3)) * gains
    y = net.node("Conv", net.input(1, 64, 8, 8), net.constant(weight), net.random(8), name="conv")
    model = classifier(net, y, 8)
    report = tidlq.lint(model)
    assert found(report, Rule.WEIGHT_OUTLIERS) == []
    (spread,) = found(report, Rule.CHANNEL_SPREAD)
    assert (spread.layers, spread.option) == (("conv",), "quantization_scale_type=4")
    assert tidlq.lint(model, options={"quantization_scale_type": 4}).findings == ()


def detector(*, decided: bool) -> onnx.ModelProto:
    net = SmallNetwork()
    x = net.node("Relu", net.conv(net.input(1, 3, 16, 16), (8, 3, 3, 3), name="stem"))
    x = net.node("Relu", net.conv(x, (8, 8, 3, 3), name="body"))
    y = net.conv(x, (4, 8, 1, 1), name="boxes")
    y = net.node("ArgMax", y, axis=1) if decided else net.node("Sigmoid", y)
    model = net.model(y)
    if decided:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


@pytest.mark.parametrize(
    ("decided", "rule"), [(False, Rule.REGRESSION_HEAD), (True, Rule.LAST_CONVOLUTION)]
)
def test_a_dense_head_gets_an_option_that_compiles(decided: bool, rule: Rule) -> None:
    model = detector(decided=decided)
    (finding,) = (
        tidlq.lint(model, "AM68A").findings
        if not decided
        else found(tidlq.lint(model, "AM68A"), rule)
    )
    assert (finding.rule, finding.severity) == (rule, Severity.HINT)
    assert finding.option == "output_feature_16bit_names_list=stem,boxes"
    key, _, value = finding.option.partition("=")
    frames = [{"input0": np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)}]
    options = {key: value, "accuracy_level": 0, "calibration_frames": 1}
    plan = tidlq.compile(model, frames, options).plan
    assert plan is not None
    assert plan.layers["boxes"].weight is not None
    assert plan.layers["boxes"].weight.type.bits == 16


def test_sixteen_bits_for_a_final_softmax_gain_nothing() -> None:
    net = SmallNetwork()
    scores = net.node("Gemm", net.input(1, 8), net.random(8, 4))
    model = net.model(net.node("Softmax", scores, axis=1, name="probabilities"))
    assert found(tidlq.lint(model), Rule.FLOAT_OUTPUT) == []
    options = {"output_feature_16bit_names_list": "probabilities"}
    (finding,) = found(tidlq.lint(model, options=options), Rule.FLOAT_OUTPUT)
    assert finding.layers == ("probabilities",)


def test_a_newer_operator_set_than_the_import_reads_is_told() -> None:
    net = SmallNetwork(opset=21)
    model = net.model(net.node("Relu", net.input(1, 8)))
    (finding,) = found(tidlq.lint(model, "AM68A"), Rule.OPSET)
    assert "opset 21" in finding.sentence
    assert found(tidlq.lint(model), Rule.OPSET) == []


def test_a_file_that_is_no_model_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="neither an ONNX nor a TFLite model"):
        tidlq.lint(b"these are not the bytes of a model", "AM68A")
