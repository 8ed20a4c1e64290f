"""The options of a compilation: TIDL's names and values, validated."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from tidlq.errors import OptionError, nearest_names
from tidlq.spec import Fusion
from tidlq.target.ingredients import (
    CalibrationIngredients,
    CalibrationMethod,
    EqualizationChoice,
)
from tidlq.target.option_names import OPTION_NAMES, fields_of
from tidlq.target.option_values import (
    AccuracyLevel,
    Allowed,
    CostModelName,
    Count,
    DebugLevel,
    Decibels,
    DeviceName,
    Equalization,
    Factor,
    Fusions,
    Method,
    Names,
    OptionalSwitch,
    Percentile,
    ProtoPath,
    RequantizationChoice,
    Requantizing,
    ScaleType,
    SubgraphCount,
    Switch,
    TensorBits,
)


class Options(BaseModel):
    """Options of a compilation.

    Every option is a keyword without TIDL's prefix (`quantization_scale_type`); TIDL's own
    spellings (`advanced_options:quantization_scale_type`, `deny_list:layer_type`) are accepted in
    `Options.parse` and in `Options(**mapping)`.

    Raises:
        OptionError: A name is unknown, a value is not allowed, options contradict each other, or a
            value is TIDL's but not supported by this version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    tensor_bits: TensorBits = Field(
        default=8, description="Bits of features and parameters; 32 runs the float network."
    )
    accuracy_level: AccuracyLevel = Field(
        default=1,
        description="0: mean over frames of each frame's min and max; 1: advanced calibration; "
        "2: extremes over all frames; 9: advanced calibration by the switches below.",
    )
    quantization_scale_type: ScaleType = Field(
        default=0,
        description="0: symmetric, real parameter scales; 1: symmetric, power-of-2 scales; "
        "4: asymmetric features, per-channel weights; 3: pre-quantized TFLite. A pre-quantized "
        "model keeps its own scales where this is not given.",
    )
    calibration_frames: Count = Field(
        default=20, description="Frames used for calibration, at most."
    )
    calibration_iterations: Count = Field(
        default=50, description="Upper bound of bias-calibration rounds."
    )
    activation_clipping: Switch = Field(
        default=True, description="Outlier removal on feature ranges, with accuracy_level 9."
    )
    weight_clipping: Switch = Field(
        default=True, description="Outlier removal on weight ranges, with accuracy_level 9."
    )
    bias_calibration: Switch = Field(
        default=True,
        description="Biases make up for what quantization shifts, with accuracy_level 9.",
    )
    channel_wise_quantization: Switch = Field(
        default=False,
        description="One weight scale per output channel; always on with scale type 4.",
    )
    bias_clipping: Switch = Field(
        default=False,
        description="A bias that does not fit is clipped; otherwise the weight scale makes room.",
    )
    pre_batchnorm_fold: Switch = Field(
        default=True, description="Fold a batch-norm that stands before the first convolution."
    )
    output_feature_16bit_names_list: Names = Field(
        default=(),
        description="Layers whose output features and parameters have 16 bits, by name or as "
        "start:end; layers that share their precision go with them.",
    )
    params_16bit_names_list: Names = Field(
        default=(),
        description="Layers whose parameters alone have 16 bits, by name or as start:end.",
    )
    mixed_precision_factor: Factor = Field(
        default=-1.0,
        description="Latency to tolerate for 16-bit layers, as a multiple of all-8-bit.",
    )
    prequantized_model: OptionalSwitch = Field(
        default=None,
        description="1: scales and zero points come from the pre-quantized model (Q/DQ, QOperator, "
        "TFLite), without calibration; 0: they are ignored; not given: 1 where the model has them.",
    )
    quant_params_proto_path: ProtoPath = Field(
        default=None,
        description="Quantization proto: written if the file does not exist, read if it does.",
    )
    deny_list_layer_type: Names = Field(default=(), description="Layer types that run in float.")
    deny_list_layer_name: Names = Field(default=(), description="Layers that run in float.")
    deny_list: Names = Field(default=(), description="Layer types or layers that run in float.")
    allow_list_layer_name: Names = Field(
        default=(), description="Layers that run in fixed point; all others run in float."
    )
    max_num_subgraphs: SubgraphCount = Field(
        default=16, description="Fixed-point islands, at most."
    )
    debug_level: DebugLevel = Field(
        default=0, description="Accepted for TIDL's sake, without effect."
    )
    device: DeviceName = Field(default=None, description="The device that the plan is for.")
    requantization: Requantizing = Field(
        default=RequantizationChoice.AUTO,
        description="Arithmetic of requantization; auto: shift for scale types 0 and 1, "
        "fixed for 4.",
    )
    calibration_method: Method = Field(
        default=CalibrationMethod.MSE,
        description="How activation clipping finds a range: least squared error, a percentile of "
        "the values, or least relative entropy.",
    )
    percentile: Percentile = Field(
        default=99.99,
        description="Of the values that stay inside the range, with calibration_method percentile.",
    )
    cross_layer_equalization: Equalization = Field(
        default=EqualizationChoice.AUTO,
        description="Rescaling of channels between layers; auto: with accuracy_level 1 and 9, "
        "where it lowers the error.",
    )
    leave_out_fusions: Fusions = Field(
        default=("none",),
        description="Fusions that are not made: their nodes are layers, rounded one by one.",
    )

    target_sqnr: Decibels = Field(
        default=None,
        description="Instead of mixed_precision_factor: the cheapest 16-bit layers whose outputs "
        "have this signal-to-noise ratio, dB.",
    )
    cost_model: CostModelName = Field(
        default="device",
        description="Latency of layers for the choice of 16-bit ones: a model of the device, times "
        "measured on this machine (host), or a file of measured cycles.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _speak_in_sentences(cls, data: Any, handler: ModelWrapValidatorHandler[Options]) -> Options:
        if isinstance(data, Options):
            return data
        if not isinstance(data, Mapping):
            raise OptionError(f"options must be a mapping of names to values, found {data!r}.")
        try:
            options = handler(fields_of(data))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            field = str(first["loc"][0])
            raise OptionError(_not_allowed(field, first["input"])) from None
        _check_together(options)
        return options

    @classmethod
    def parse(cls, mapping: Mapping[str, object]) -> Options:
        """Reads options from text or YAML values, in any spelling that TIDL's users write.

        Args:
            mapping: values by option name; text such as "8" counts as the number, nested groups
                (`advanced_options: {...}`) as prefixed names, None as not given.

        Raises:
            OptionError: As the constructor does.
        """
        return cls.model_validate(mapping)

    def override(self, mapping: Mapping[str, object]) -> Options:
        """Returns these options with those of `mapping` in their place.

        Args:
            mapping: values by option name, as `parse` takes them.

        Raises:
            OptionError: As the constructor does.
        """
        given = {field: getattr(self, field) for field in self.model_fields_set}
        return Options.parse(given | fields_of(mapping))

    def to_tidl(self) -> dict[str, str | int | float]:
        """Returns every option by its published name, as plain values that `parse` reads back."""
        return {
            name: _plain(getattr(self, field))
            for field, name in OPTION_NAMES.items()
            if getattr(self, field) is not None
        }

    @property
    def deciding(self) -> Mapping[str, str | int | float]:
        """`to_tidl` without the options that have no influence on the network."""
        idle = {OPTION_NAMES[field] for field in ("quant_params_proto_path", "debug_level")}
        return {name: value for name, value in self.to_tidl().items() if name not in idle}

    @property
    def left_out(self) -> frozenset[Fusion]:
        """Fusions that are not made."""
        names = self.leave_out_fusions
        return frozenset() if names == ("none",) else frozenset(map(Fusion, names))

    @property
    def is_mixed(self) -> bool:
        """16-bit layers are to be chosen automatically."""
        return self.mixed_precision_factor > 0 or self.target_sqnr is not None

    @property
    def ingredients(self) -> CalibrationIngredients:
        """What the accuracy level asks for: 0 and 2 nothing, 1 everything, 9 the switches.

        Per-channel scales, and an equalization that is switched on or off, hold at every level.
        """
        is_advanced, is_free = self.accuracy_level in (1, 9), self.accuracy_level == 9
        equalization = self.cross_layer_equalization
        if equalization is EqualizationChoice.AUTO and not is_advanced:
            equalization = EqualizationChoice.OFF
        return CalibrationIngredients(
            activation_clipping=self.activation_clipping if is_free else is_advanced,
            weight_clipping=self.weight_clipping if is_free else is_advanced,
            bias_calibration=self.bias_calibration if is_free else is_advanced,
            channel_wise_quantization=self.channel_wise_quantization
            or self.quantization_scale_type == 4,
            equalization=equalization,
        )


@dataclass(frozen=True)
class OptionInfo:
    """An option as documentation shows it.

    Attributes:
        field: keyword of `Options`.
        name: published name.
        allowed: allowed values, in words.
        default: the default value, as text.
        meaning: one sentence.
    """

    field: str
    name: str
    allowed: str
    default: str
    meaning: str


def describe_options() -> tuple[OptionInfo, ...]:
    """Returns every option in the order of TIDL's own table."""
    return tuple(
        OptionInfo(
            field=field,
            name=name,
            allowed=_allowed(field),
            default=str(_plain(Options.model_fields[field].default)),
            meaning=Options.model_fields[field].description or "",
        )
        for field, name in OPTION_NAMES.items()
    )


def _plain(value: object) -> str | int | float:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, Path):
        return str(value)
    return ""


def _allowed(field: str) -> str:
    metadata = Options.model_fields[field].metadata
    return next(item.text for item in metadata if isinstance(item, Allowed))


def _not_allowed(field: str, found: object) -> str:
    allowed = _allowed(field)
    words = [choice for choice in allowed.split(", ") if choice.isalpha()]
    nearest = nearest_names(str(found), words) if len(words) > 1 else ""
    return f"option {OPTION_NAMES[field]!r} is {found!r}, allowed: {allowed}.{nearest}"


def _check_together(options: Options) -> None:
    if options.is_mixed and options.tensor_bits == 16:
        name = "target_sqnr" if options.target_sqnr is not None else "mixed_precision_factor"
        raise OptionError(
            f"option {OPTION_NAMES[name]!r} chooses 16-bit layers for a network of 8 bits, but "
            "option 'tensor_bits' is 16; allowed with it: 8."
        )
    if options.mixed_precision_factor > 0 and options.target_sqnr is not None:
        raise OptionError(
            "options 'advanced_options:mixed_precision_factor' and 'tidlq:target_sqnr' are both "
            "given: a latency to keep to, and a target whatever it takes; allowed: one of them."
        )
    if (
        options.device is not None
        and options.quantization_scale_type == 4
        and not options.device.facts.asymmetric
    ):
        raise OptionError(
            "option 'advanced_options:quantization_scale_type' is 4 (asymmetric), which "
            f"{options.device.value} does not have; allowed for this device: 0, 1."
        )
    if (
        options.requantization is not RequantizationChoice.AUTO
        and options.quantization_scale_type in (0, 1)
    ):
        raise OptionError(
            f"option 'tidlq:requantization' is {options.requantization.value!r} with "
            f"quantization_scale_type {options.quantization_scale_type}, whose scales are made for "
            "shifts; allowed with this scale type: auto."
        )
