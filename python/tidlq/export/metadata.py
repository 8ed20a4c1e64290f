"""What an export says about itself beyond its nodes: the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tidlq.export.forms import NetworkForms
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan


def describe_export(
    partition: Partition, plan: QuantPlan, forms: NetworkForms
) -> Mapping[str, str]:
    """Keys and values of the model's metadata.

    Args:
        partition: stages of the network.
        plan: its decisions.
        forms: of its tensors.
    """
    hidden = {
        name: [quant.type.dtype.name, quant.scale, quant.zero_point]
        for name, quant in sorted(forms.hidden.items())
    }
    return {
        "tidlq.scheme": plan.scheme.name,
        "tidlq.requantization": plan.scheme.requantization.value,
        "tidlq.features": json.dumps(hidden),
        "tidlq.float_nodes": json.dumps([node.name for node in partition.float_nodes]),
    }
