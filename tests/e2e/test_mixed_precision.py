"""The automatic choice of 16-bit layers, end to end."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork, random_frame
from tidlq.calibration import PlanTrials, checkpoints
from tidlq.compilation import Compiled
from tidlq.decision import from_data
from tidlq.decision.latency import latency_model
from tidlq.decision.mixed_precision import MixedPrecision, PrecisionChoice
from tidlq.precision.cost import LatencyModel
from tidlq.precision.search import MeasuredChoice, noise_left
from tidlq.spec import QuantPlan
from tidlq.target import LayerBits, LayerWork

PROTO = "advanced_options:quant_params_proto_path"
FACTORS = [1.05, 1.2, 1.5, 2.0]


def network(seed: int = 0) -> onnx.ModelProto:
    """A small network with a residual sum, a depthwise layer, a pool and a dense layer."""
    net = SmallNetwork(seed)
    x = net.input(1, 3, 12, 12)
    first = net.node("Relu", net.conv(x, (6, 3, 3, 3), name="first", pads=[1] * 4))
    deep = net.node("Relu", net.conv(first, (6, 1, 3, 3), name="deep", pads=[1] * 4, group=6))
    narrow = net.conv(deep, (6, 6, 1, 1), name="narrow")
    total = net.node("Add", first, narrow, name="sum")
    pooled = net.node("GlobalAveragePool", net.conv(total, (8, 6, 3, 3), name="last"), name="mean")
    flat = net.node("Reshape", pooled, net.integers([1, 8]))
    return net.model(net.node("Gemm", flat, net.random(8, 5), name="dense"))


def frames(count: int = 16) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"input0": (rng.normal(size=(1, 3, 12, 12)) * rng.uniform(0.3, 2)).astype(np.float32)}
        for _ in range(count)
    ]


def by_products(work: LayerWork, bits: LayerBits) -> float:
    """Latency without overhead, so that small networks have something to choose."""
    rate = {16: 1.0, 24: 2.0, 32: 4.0}[max(bits.inputs) + bits.parameters]
    macs = work.matrix.macs if work.matrix else work.output_elements
    return macs * rate / 1e6


@pytest.fixture(autouse=True)
def _simple_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LatencyModel("products", by_products)
    monkeypatch.setattr(from_data, "latency_model", lambda *_: model)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[PrecisionChoice]:
    """The choices that compilations begin."""
    found: list[PrecisionChoice] = []

    class Spied(PrecisionChoice):
        def run(self) -> MixedPrecision:
            found.append(self)
            return super().run()

    monkeypatch.setattr(from_data, "PrecisionChoice", Spied)
    return found


def compile_mixed(count: int = 16, **options: object) -> Compiled:
    return tidlq.compile(network(), frames(count), {"mixed_precision_factor": 1.3, **options})


def mix(compiled: Compiled) -> MixedPrecision:
    assert compiled.mixed is not None
    return compiled.mixed


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_the_choice_is_within_2_percent_of_the_best_of_all(
    scale_type: int, made: list[PrecisionChoice]
) -> None:
    known: dict[str, float] = {}
    gaps = []
    for factor in FACTORS:
        options = {"quantization_scale_type": scale_type, "mixed_precision_factor": factor}
        found = mix(tidlq.compile(network(), frames(), options))
        choice = made.pop()
        assert found.budget == factor * found.cost_8
        assert found.chosen.cost <= found.budget
        choices = choice._choices
        least = math.inf
        for states in itertools.product(*(group.states for group in found.groups)):
            named = dict(zip((group.name for group in found.groups), states, strict=True))
            if choices.costs.cost(named) > found.budget:
                continue
            key = choices.key(named)
            if key not in known:
                known[key] = choices.error(named)
            least = min(least, known[key])
        gaps.append(found.finalists[0].error / least - 1)
    print(f"type {scale_type}: gaps to the best of all", [f"{gap:.2%}" for gap in gaps])
    assert max(gaps) <= 0.02


def test_the_choice_has_the_least_of_measured_and_added_up_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[float, MeasuredChoice]] = []
    judged = MixedPrecision.judged_error

    def spied(self: MixedPrecision, choice: MeasuredChoice, error: float) -> float:
        noise = self.wide_error + noise_left(self.groups, self.gains, dict(choice.states))
        assert judged(self, choice, error) == pytest.approx(math.sqrt(error * noise))
        found.append((judged(self, choice, error), choice))
        return found[-1][0]

    monkeypatch.setattr(MixedPrecision, "judged_error", spied)
    chosen = mix(compile_mixed()).chosen
    assert len(found) > 1
    assert chosen == min(found, key=lambda item: item[0])[1]


def test_the_best_by_measured_and_added_up_noise_are_among_the_finalists(
    made: list[PrecisionChoice],
) -> None:
    found = mix(compile_mixed())
    budget = found.budget
    assert budget is not None
    fitting = [choice for choice in made.pop()._choices if choice.cost <= budget]
    assert min(fitting, key=lambda x: found.judged_error(x, x.error)) in found.finalists
    assert min(fitting, key=lambda x: x.error) == found.finalists[0]


def test_a_target_is_judged_by_the_measured_error_alone() -> None:
    found = mix(tidlq.compile(network(), frames(), {"tidlq:target_sqnr": 30}))
    assert found.judged_error(found.chosen, 0.25) == 0.25


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_more_latency_gives_less_error(scale_type: int) -> None:
    found = mix(compile_mixed(quantization_scale_type=scale_type))
    assert found.cost_8 < found.chosen.cost <= 1.3 * found.cost_8 < found.cost_16
    assert found.chosen.error < found.front[0].error
    assert found.front[0].states == ()
    assert found.factor == pytest.approx(found.chosen.cost / found.cost_8)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_the_saved_proto_gives_the_same_bytes_without_data(tmp_path: Path, scale_type: int) -> None:
    options = {"quantization_scale_type": scale_type, PROTO: str(tmp_path / "quant.prototxt")}
    first = compile_mixed(**options)
    again = tidlq.compile(network(), None, options)
    assert again.artifacts.stages == first.artifacts.stages
    assert again.plan == first.plan
    with_factor = tidlq.compile(network(), None, {**options, "mixed_precision_factor": 1.3})
    assert with_factor.artifacts.stages == first.artifacts.stages
    assert any("No 16-bit layers are chosen" in notice for notice in with_factor.notices)


@pytest.mark.parametrize("scale_type", [0, 4])
def test_the_reported_lists_ask_for_the_same_layers(scale_type: int) -> None:
    # Whether channels are rescaled depends on the bits that the network has before the choice.
    options = {"quantization_scale_type": scale_type, "cross_layer_equalization": "off"}
    first = compile_mixed(**options)
    options |= first.artifacts.report["precision"]["mixed"]["options"]
    again = tidlq.compile(network(), frames(), options)
    assert again.artifacts.stages == first.artifacts.stages


def test_equal_calls_give_equal_bytes_whatever_the_threads() -> None:
    first = compile_mixed()
    again = tidlq.compile(network(), frames(), {"mixed_precision_factor": 1.3}, threads=1)
    assert again.artifacts.stages == first.artifacts.stages
    assert again.artifacts.report == first.artifacts.report


def test_a_target_is_reached_by_less_latency_than_16_bits() -> None:
    options = {"mixed_precision_factor": -1, "quantization_scale_type": 4}
    low = mix(compile_mixed(target_sqnr=1, **options))
    assert low.chosen.states == ()
    target = low.chosen.sqnr_db + 10
    found = mix(compile_mixed(target_sqnr=target, **options))
    assert found.chosen.sqnr_db >= target
    assert found.cost_8 < found.chosen.cost < found.cost_16
    assert found.budget is None


def test_a_target_out_of_reach_is_refused_with_what_is_reached() -> None:
    with pytest.raises(tidlq.GateError, match=r"199 dB, which no choice .* the best one has \d+"):
        compile_mixed(target_sqnr=199, mixed_precision_factor=-1)


def test_the_cheapest_choice_of_a_target_is_within_2_percent_of_the_cheapest_of_all(
    made: list[PrecisionChoice],
) -> None:
    options = {"mixed_precision_factor": -1, "quantization_scale_type": 4}
    found = mix(compile_mixed(target_sqnr=40, **options))
    choices, least = made[0]._choices, math.inf
    for states in itertools.product(*(group.states for group in found.groups)):
        named = dict(zip((group.name for group in found.groups), states, strict=True))
        cost = choices.costs.cost(named)
        if cost < least and choices.error(named) <= 1e-4:
            least = cost
    print(f"gap to the cheapest of all {found.finalists[0].cost / least - 1:.2%}")
    assert found.finalists[0].cost <= 1.02 * least


def test_listed_layers_stay_and_count_towards_the_budget() -> None:
    compiled = compile_mixed(output_feature_16bit_names_list="deep")
    assert compiled.plan is not None
    deep = next(x for x in compiled.partition.layers if x.name == "deep")
    assert compiled.plan.features[deep.output].type.bits == 16
    assert mix(compiled).chosen.cost <= 1.3 * mix(compiled).cost_8
    with pytest.raises(tidlq.OptionError, match="by the lists or as outputs, take"):
        compile_mixed(output_feature_16bit_names_list="first:last", mixed_precision_factor=1.01)


def test_layers_whose_features_alone_are_wide_still_get_16_bit_parameters() -> None:
    net = SmallNetwork(0)
    x = net.input(1, 3, 12, 12)
    shared = net.node("Relu", net.conv(x, (6, 3, 3, 3), name="shared", pads=[1] * 4))
    heads = [net.conv(shared, (4, 6, 1, 1), name=name) for name in ("boxes", "scores")]
    found = mix(tidlq.compile(net.model(*heads), frames(), {"mixed_precision_factor": 4}))
    wide = [group for group in found.groups if found.base.feature_bits(group.features[0]) == 16]
    open_ = {name for group in wide for name in group.parameters}
    assert open_
    assert all(found.base.parameter_bits(name) == 8 for name in open_)
    assert all(found.precision.parameter_bits(name) == 16 for name in open_)


def test_a_factor_that_only_16_bits_everywhere_fit_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(from_data, "latency_model", latency_model)
    # What stands in front of a fused activation has 16 bits from the start, and changes precision
    # twice: without these changes 16 bits everywhere have less latency.
    net = SmallNetwork(0)
    x = net.input(1, 3, 12, 12)
    for channels in (3, 6):
        x = net.conv(x, (6, channels, 1, 1))
        x = net.node("Mul", x, net.node("Sigmoid", x))
    data = [random_frame(net.graph(x), seed) for seed in range(8)]
    wide = mix(tidlq.compile(net.model(x), data, {"mixed_precision_factor": 4}))
    factor = wide.cost_16 / wide.cost_8 + 1e-4
    found = mix(tidlq.compile(net.model(x), data, {"mixed_precision_factor": factor}))
    assert found.chosen.cost == found.cost_16 <= factor * found.cost_8
    with pytest.raises(tidlq.OptionError, match="by the lists or as outputs, take"):
        tidlq.compile(net.model(x), data, {"mixed_precision_factor": 1.001})


def test_an_interrupted_choice_continues_with_what_it_had_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compile_mixed()
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", math.inf)
    asked: list[int] = []
    error = PlanTrials.typical_error

    def counted(self: PlanTrials, plan: QuantPlan) -> float:
        asked.append(1)
        if len(asked) == 12:
            raise KeyboardInterrupt
        return error(self, plan)

    monkeypatch.setattr(PlanTrials, "typical_error", counted)
    options = {"mixed_precision_factor": 1.3}
    with pytest.raises(KeyboardInterrupt):
        tidlq.compile(network(), frames(), options, progress_folder=tmp_path)
    asked.append(1)
    before = len(asked)
    again = tidlq.compile(network(), frames(), options, progress_folder=tmp_path)
    assert len(asked) - before <= mix(whole).measurements - 9
    assert again.artifacts.stages == whole.artifacts.stages
    assert mix(again).front == mix(whole).front


def test_few_frames_are_refused() -> None:
    with pytest.raises(tidlq.DataError, match="needs at least 4 frames"):
        compile_mixed(count=3)


def test_levels_without_bias_calibration_choose_as_well() -> None:
    found = mix(compile_mixed(accuracy_level=2))
    assert found.chosen.error < found.front[0].error


def test_onnx_runtime_runs_the_export_of_a_mixed_plan_to_the_same_end() -> None:
    compiled = compile_mixed(quantization_scale_type=4)
    assert {x.type.bits for x in compiled.plan.features.values()} == {8, 16}
    back = tidlq.compile(compiled.to_qdq(), None, {})
    assert {n: x.type for n, x in back.plan.features.items()} == {
        n: x.type for n, x in compiled.plan.features.items()
    }
    x = frames(2)[1]
    (one,) = tidlq.InferenceSession(compiled.artifacts).run(None, x)
    (other,) = tidlq.InferenceSession(back.artifacts).run(None, x)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())
