"""The nodes, names and constants of a QDQ model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import tidlq
from random_networks import frames_for
from small_networks import SmallNetwork
from tidlq.compilation import Compiled
from tidlq.errors import ModelError
from tidlq.export import qdq
from tidlq.export.qdq import qdq_model
from unit.export.conftest import Compile

TYPE_4 = {"quantization_scale_type": 4}
TYPE_1 = {"quantization_scale_type": 1}


def nodes_by_name(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in model.graph.node}


def writer_of(model: onnx.ModelProto, tensor: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if tensor in node.output)


def constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def real_values(model: onnx.ModelProto, node: onnx.NodeProto) -> NDArray[np.generic]:
    """What a DequantizeLinear of a constant gives."""
    arrays = constants(model)
    integers, scales = arrays[node.input[0]], arrays[node.input[1]]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    shape = [-1 if index == axis else 1 for index in range(integers.ndim)]
    return integers * (scales.reshape(shape) if scales.ndim else scales)


def small_classifier() -> onnx.ModelProto:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="first")
    pooled = net.node("GlobalAveragePool", net.node("Relu", conv, name="rectify"), name="pool")
    flat = net.node("Reshape", pooled, net.integers([1, 4]), name="flatten")
    scores = net.node("Gemm", flat, net.random(4, 5), net.random(5), name="dense", alpha=0.5)
    return net.model(net.node("Softmax", scores, name="classes", axis=1))


def run(model: onnx.ModelProto, feed: Mapping[str, NDArray[np.generic]]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


def test_nodes_keep_their_names_and_tensors(compile_small: Compile) -> None:
    exported = compile_small(small_classifier(), TYPE_4).to_qdq()
    nodes = nodes_by_name(exported)
    for name, output in (("first", "first_out"), ("rectify", "rectify_out"), ("dense", None)):
        assert output is None or nodes[name].output[0] == output
    assert [value.name for value in exported.graph.input] == ["input0"]
    assert [value.name for value in exported.graph.output] == ["classes_out"]


def test_every_quantized_tensor_has_a_pair_behind_it_and_fused_ones_have_none(
    compile_small: Compile,
) -> None:
    compiled = compile_small(small_classifier(), TYPE_4)
    exported = compiled.to_qdq()
    assert compiled.plan is not None
    quantized = {n.input[0] for n in exported.graph.node if n.op_type == "QuantizeLinear"}
    # Softmax leaves in float, the convolution's own output is inside its layer.
    assert quantized == set(compiled.plan.features) - {"classes_out"}
    assert "first_out" not in quantized


def test_the_plan_is_in_the_constants(compile_small: Compile) -> None:
    compiled = compile_small(small_classifier(), TYPE_4)
    exported, plan = compiled.to_qdq(), compiled.plan
    assert plan is not None
    arrays = constants(exported)
    for node in exported.graph.node:
        if node.op_type == "QuantizeLinear":
            quant = plan.features[node.input[0]]
            assert arrays[node.input[1]] == np.float32(quant.scale)
            assert arrays[node.input[2]] == quant.zero_point
            assert arrays[node.input[2]].dtype == quant.type.dtype
            assert arrays[node.input[1]].shape == arrays[node.input[2]].shape == ()
    weight = writer_of(exported, nodes_by_name(exported)["first"].input[1])
    assert arrays[weight.input[0]].dtype == np.int8
    assert arrays[weight.input[1]].tolist() == list(plan.layers["first"].weight.scales)
    bias = writer_of(exported, nodes_by_name(exported)["first"].input[2])
    assert arrays[bias.input[0]].dtype == np.int32
    scales = np.asarray(plan.layers["first"].weight.scales) * plan.features["input0"].scale
    assert np.array_equal(arrays[bias.input[1]], scales.astype(np.float32))


def test_alpha_is_part_of_the_integers(compile_small: Compile) -> None:
    compiled = compile_small(small_classifier(), TYPE_4)
    exported = compiled.to_qdq()
    dense = nodes_by_name(exported)["dense"]
    assert not {"alpha", "beta"} & {attribute.name for attribute in dense.attribute}
    weight = writer_of(exported, dense.input[1])
    original = compiled.graph.constant(
        next(n for n in compiled.graph.nodes if n.name == "dense").inputs[1].name
    )
    assert original is not None
    assert np.abs(real_values(exported, weight) - 0.5 * original).max() < 0.02
    assert [a.i for a in weight.attribute if a.name == "axis"] == [1]


def test_the_checker_passes_and_the_bytes_are_deterministic(compile_small: Compile) -> None:
    compiled = compile_small(small_classifier(), TYPE_1)
    exported = compiled.to_qdq()
    onnx.checker.check_model(exported, full_check=True)
    again = compile_small(small_classifier(), TYPE_1).to_qdq()
    assert exported.SerializeToString(deterministic=True) == again.SerializeToString(
        deterministic=True
    )


def test_an_integer_output_of_the_network_keeps_its_name_behind_the_pair(
    compile_small: Compile,
) -> None:
    net = SmallNetwork()
    exported = compile_small(net.model(net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="c")))
    model = exported.to_qdq()
    assert writer_of(model, "c_out").op_type == "DequantizeLinear"
    assert nodes_by_name(model)["c"].output[0] != "c_out"


def test_a_division_by_a_constant_becomes_a_multiplication(compile_small: Compile) -> None:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    quotient = net.node("Div", net.node("Sigmoid", conv), net.constant([4.0]), name="quarter")
    unfused = {**TYPE_4, "tidlq:leave_out_fusions": "scaled-activation"}
    exported = compile_small(net.model(quotient), unfused).to_qdq()
    node = nodes_by_name(exported)["quarter"]
    assert node.op_type == "Mul"
    assert real_values(exported, writer_of(exported, node.input[1])) == pytest.approx(0.25)


def test_a_batch_norm_is_its_gain_and_shift(compile_small: Compile) -> None:
    net = SmallNetwork()
    pooled = net.node("MaxPool", net.input(1, 3, 6, 6), kernel_shape=[2, 2])
    exported = compile_small(net.model(net.batch_norm(pooled, 3, name="norm"))).to_qdq()
    node = nodes_by_name(exported)["norm"]
    arrays = constants(exported)
    assert [arrays[name].tolist() for name in node.input[3:]] == [[0.0] * 3, [1.0] * 3]
    assert [a.f for a in node.attribute if a.name == "epsilon"] == [0.0]


def test_a_bias_beyond_32_bits_is_the_sum_of_two(compile_small: Compile) -> None:
    net = SmallNetwork()
    inputs = (net.input(1, 3, 6, 6), net.random(4, 3, 3, 3), net.constant([900.0, -70, 0.5, 0]))
    model = net.model(net.node("Conv", *inputs, name="c"))
    compiled = compile_small(model, {**TYPE_4, "tensor_bits": 16})
    exported = compiled.to_qdq()
    total = writer_of(exported, nodes_by_name(exported)["c"].input[2])
    assert total.op_type == "Add"
    parts = [writer_of(exported, name) for name in total.input]
    arrays = constants(exported)
    high, low = (arrays[part.input[0]].astype(np.int64) for part in parts)
    assert compiled.plan is not None
    wanted = compiled.plan.layers["c"].quantize_bias(compiled.plan.features["input0"].scale)
    assert np.abs(wanted).max() > 2**31
    assert np.array_equal(high * 2**24 + low, wanted)
    assert np.array_equal(arrays[parts[0].input[1]], arrays[parts[1].input[1]] * 2**24)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_layer_without_a_bias_gets_the_calibrated_one(compile_small: Compile, rank: int) -> None:
    net = SmallNetwork()
    if rank == 4:
        model = net.model(net.conv(net.input(1, 3, 6, 6), (5, 3, 3, 3), bias=False, name="layer"))
    else:
        source = net.node("Sigmoid", net.input(*((1, 6) if rank == 2 else (1, 4, 6))))
        model = net.model(net.node("MatMul", source, net.random(6, 5), name="layer"))
    compiled = compile_small(model)
    assert compiled.plan is not None
    layers = dict(compiled.plan.layers)
    layers["layer"] = replace(layers["layer"], bias=(0.5, -0.5, 0.25, 0.0, 1.0))
    plan = replace(compiled.plan, layers=layers)
    exported = qdq_model(compiled.graph, compiled.partition, plan)
    onnx.checker.check_model(exported, full_check=True)
    feed = frames_for(model, 1)[0]
    moved = run(exported, feed)[0] - run(compiled.to_qdq(), feed)[0]
    channels = np.moveaxis(moved, 1 if rank == 4 else -1, 0).reshape(5, -1)
    steps = 2 * plan.features["layer_out"].scale
    # What saturates cannot move.
    assert np.abs(np.median(channels, axis=1) - layers["layer"].bias).max() <= steps


@pytest.mark.parametrize(
    ("bits", "opset", "domain"), [(8, 18, ""), (16, 21, "")], ids=["8 bits", "16 bits"]
)
def test_16_bits_need_opset_21(compile_small: Compile, bits: int, opset: int, domain: str) -> None:
    exported = compile_small(small_classifier(), {**TYPE_4, "tensor_bits": bits}).to_qdq()
    assert {x.domain: x.version for x in exported.opset_import} == {"": opset}
    assert {n.domain for n in exported.graph.node if n.op_type == "QuantizeLinear"} == {domain}
    onnx.checker.check_model(exported, full_check=True)


def test_an_operator_with_another_meaning_at_opset_21_keeps_its_opset(
    compile_small: Compile,
) -> None:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="c")
    grid = net.constant(net.rng.uniform(-1, 1, size=(1, 4, 4, 2)))
    sampled = net.node("GridSample", conv, grid, mode="bilinear", name="sample")
    model = net.model(net.node("Sigmoid", sampled))
    compiled = compile_small(model, {**TYPE_4, "tensor_bits": 16})
    exported = compiled.to_qdq()
    assert {x.domain: x.version for x in exported.opset_import} == {"": 18, "com.microsoft": 1}
    onnx.checker.check_model(exported, full_check=True)
    feed = frames_for(model, 1)[0]
    (ours,) = tidlq.InferenceSession(compiled.artifacts).run(None, feed)
    assert run(exported, feed)[0] == pytest.approx(ours, abs=1e-3)


def test_an_opset_without_scales_per_axis_quantizes_by_onnx_runtime_s_operators(
    compile_small: Compile,
) -> None:
    net = SmallNetwork()
    rows = net.node("Relu", net.input(1, 4, 6))
    total = net.node("Add", net.node("MatMul", rows, net.random(6, 300)), net.random(300))
    # No newer operator set has a Dropout whose mask is a number.
    mask = helper.make_node("Dropout", [total], ["kept", "mask"], name="drop")
    net.nodes.append(mask)
    last = net.node("Sigmoid", "kept", name="last")
    model = net.model(last, "mask")
    model.opset_import[0].version = 11
    for value in model.graph.output:
        value.CopyFrom(helper.make_tensor_value_info(value.name, 0, [1, 4, 300]))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.BOOL
    del model.graph.value_info[:]
    compiled = compile_small(model, TYPE_4)
    exported = compiled.to_qdq()
    assert {x.domain: x.version for x in exported.opset_import} == {"": 11, "com.microsoft": 1}
    onnx.checker.check_model(exported, full_check=True)
    again = tidlq.compile(exported)
    assert again.partition.layers == compiled.partition.layers
    feed = frames_for(model, 1)[0]
    ours, theirs = (
        tidlq.InferenceSession(one.artifacts).run(None, feed) for one in (compiled, again)
    )
    assert all(map(np.array_equal, ours, theirs))


def island_network() -> onnx.ModelProto:
    net = SmallNetwork()
    first = net.node("Relu", net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3), name="first"))
    middle = net.conv(first, (4, 4, 3, 3), name="middle")
    return net.model(net.conv(net.node("Relu", middle), (2, 4, 3, 3), name="last"))


def test_float_weights_of_an_island_stay_float(compile_small: Compile) -> None:
    """ONNX Runtime would round them to 8 bits behind a DequantizeLinear with a single scale."""
    model = island_network()
    compiled = compile_small(model, {**TYPE_4, "deny_list:layer_name": "middle"})
    exported = compiled.to_qdq()
    weight = compiled.graph.constant(nodes_by_name(exported)["middle"].input[1])
    assert weight is not None
    feed = frames_for(model, 1)[0]
    (ours,) = tidlq.InferenceSession(compiled.artifacts).run(None, feed)
    (theirs,) = run(exported, feed)
    assert compiled.plan is not None
    assert np.abs(ours - theirs).max() <= compiled.plan.features["last_out"].scale * 1.01


def test_bodies_of_control_flow_read_the_right_form(compile_small: Compile) -> None:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="c")
    condition = net.node("Greater", net.node("ReduceSum", conv, keepdims=0), net.constant(-1e9))
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [conv], [f"{op}_inner"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_inner", TensorProto.FLOAT, [1, 4, 4, 4])],
        )
        for op in ("Exp", "Neg")
    ]
    chosen = net.node("If", condition, then_branch=bodies[0], else_branch=bodies[1], name="if")
    model = net.model(net.conv(chosen, (2, 4, 3, 3), name="last"), conv)
    compiled = compile_small(model)
    assert [node.op_type for node in compiled.partition.float_nodes][-1] == "If"
    exported = compiled.to_qdq()
    onnx.checker.check_model(exported, full_check=True)
    then = next(a.g for a in nodes_by_name(exported)["if"].attribute if a.name == "then_branch")
    assert writer_of(exported, then.node[0].input[0]).op_type == "DequantizeLinear"
    feed = frames_for(model, 1)[0]
    ours = tidlq.InferenceSession(compiled.artifacts).run(None, feed)
    for mine, theirs in zip(ours, run(exported, feed), strict=True):
        assert np.abs(mine - theirs).max() <= 0.02 * np.abs(mine).max()


def test_a_bound_where_the_integers_end_moves_out_to_the_last_integer(
    compile_small: Compile,
) -> None:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    compiled = compile_small(net.model(net.clip(conv, 0.0, 6.0, name="bounded")), TYPE_4)
    assert compiled.plan is not None
    # 6 is 254.7 steps.
    quant = replace(compiled.plan.features["bounded_out"], scale=float(np.float32(6 / 254.7)))
    plan = replace(compiled.plan, features={**compiled.plan.features, "bounded_out": quant})
    exported = qdq_model(compiled.graph, compiled.partition, plan)
    arrays = constants(exported)
    low, high = (float(arrays[name]) for name in nodes_by_name(exported)["bounded"].input[1:])
    assert (low, high) == (0.0, np.float32(quant.scale) * np.float32(255))
    assert high > 6


def test_a_bound_inside_the_integers_stays(compile_small: Compile) -> None:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    exported = compile_small(net.model(net.clip(conv, 0.5, 1.0, name="bounded")), TYPE_4).to_qdq()
    low = constants(exported)[nodes_by_name(exported)["bounded"].input[1]]
    assert float(low) == 0.5


def test_a_clamp_between_integers_follows_an_exact_convolution(compile_small: Compile) -> None:
    net = SmallNetwork()
    relu = net.node("Relu", net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="c"), name="relu")
    model = net.model(net.clip(relu, 0.25, 1.5, name="bounded"))
    compiled = compile_small(model, {**TYPE_4, "tidlq:requantization": "float"})
    exported = compiled.to_qdq()
    assert len(compiled.partition.layers) == 1
    quantized = [n.input[0] for n in exported.graph.node if n.op_type == "QuantizeLinear"]
    assert quantized[1:3] == ["c_out", "relu_out"]
    again = tidlq.compile(exported)
    assert [layer.nodes for layer in again.partition.layers] == [("c", "relu", "bounded")]
    feed = frames_for(model, 1)[0]
    (ours,) = tidlq.InferenceSession(compiled.artifacts).run(None, feed)
    assert np.array_equal(run(exported, feed)[0], ours)


def test_constants_of_more_than_2_gib_are_refused(
    compile_small: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_small(small_classifier())
    monkeypatch.setattr(qdq, "_LARGEST_FILE", 100)
    with pytest.raises(ModelError, match=r"has \d+ bytes of constants; .* at most 100"):
        compiled.to_qdq()


def test_a_float_network_has_nothing_to_export(compile_small: Compile) -> None:
    compiled: Compiled = compile_small(small_classifier(), {"tensor_bits": 32})
    with pytest.raises(ModelError, match="runs in float only"):
        compiled.to_qdq()
