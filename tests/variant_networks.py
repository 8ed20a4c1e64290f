"""Networks, their 8-bit plans and variants of other precision, for tests of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from small_networks import parts_of, random_frame
from tidlq.calibration.features import measure_features
from tidlq.calibration.levels import RangeChoice, RangeRule, RangeSearch
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.importers.model import import_model
from tidlq.precision.groups import (
    GroupState,
    PrecisionGroup,
    find_precision_groups,
    precision_of_states,
)
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import ranged_features
from tidlq.precision.variants import VariantPlans
from tidlq.spec import Precision, Ranges, Scheme


@dataclass(frozen=True)
class Varied:
    """A network whose plans of any precision can be made."""

    graph: Graph
    parts: Partition
    plans: VariantPlans
    groups: tuple[PrecisionGroup, ...]
    frames: Sequence[dict[str, np.ndarray]]

    def precision(self, states: dict[str, GroupState]) -> Precision:
        return precision_of_states(self.groups, states)

    def draw_states(self, data: DataObject, most: int = 3) -> dict[str, GroupState]:
        """States of some groups, none of them 8 bits."""
        wide = [group for group in self.groups if len(group.states) > 1]
        if not wide:
            return {}
        chosen = data.draw(st.lists(st.sampled_from(range(len(wide))), max_size=most, unique=True))
        return {
            wide[i].name: data.draw(st.sampled_from(wide[i].states[1:])) for i in sorted(chosen)
        }


def varied(model: onnx.ModelProto, scheme: Scheme, frames: int = 3) -> Varied:
    """A network with ranges from a few random frames, 16 bits having wider ones."""
    graph = import_model(model)
    parts = parts_of(graph)
    data = [random_frame(graph, seed) for seed in range(frames)]
    measured = measure_features(graph, ranged_features(parts), data)
    choose = RangeChoice(RangeSearch(RangeRule.MSE, 3.0), measured.features, {})
    ranges = measure_parameters(graph, parts.layers)
    ranges = Ranges({}, ranges.parameters, ranges.channels)
    plans = VariantPlans(graph, parts, ranges, scheme, choose=choose)
    return Varied(graph, parts, plans, find_precision_groups(graph, parts), data)
