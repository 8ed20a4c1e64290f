"""The quantized ONNX files of the shared data, and what is known of their import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """What is known of a model's import.

    Attributes:
        features, parameters, biases: how many tensors are stated.
        unstated: layers whose output has no statement.
        float_weights: layers whose weight has none.
        steps: largest difference of an output: in steps, or in real units where it is not stated.
    """

    features: int
    parameters: int
    biases: int
    unstated: int = 0
    float_weights: int = 0
    steps: float = 0.0


# Float outputs differ by the rounding of float32 sums in another order.
ROUNDING = 2.0**-17
QAT = "qat/models"
MODELS = {
    # Batch-norms are folded here and computed there: values on the border between two integers.
    f"{QAT}/brevitas_resnet20_pc_bn_dynamo21.onnx": Expected(37, 20, 0, 1, steps=0.5),
    f"{QAT}/brevitas_resnet20_pc_bn_ts13.onnx": Expected(37, 20, 1, 1, steps=0.5),
    f"{QAT}/brevitas_resnet20_pc_fbias_dynamo18.onnx": Expected(37, 20, 0, 1, steps=ROUNDING),
    f"{QAT}/brevitas_resnet20_pc_ts13.onnx": Expected(37, 20, 20, 1, steps=ROUNDING),
    f"{QAT}/brevitas_resnet20_pow2_pt_ts13.onnx": Expected(38, 20, 20),
    f"{QAT}/incomplete_resnet20_A_conv_no_actqdq.onnx": Expected(37, 20, 19, 2, steps=ROUNDING),
    f"{QAT}/incomplete_resnet20_B_conv_all_float.onnx": Expected(37, 19, 19, 2, 1, steps=ROUNDING),
    f"{QAT}/incomplete_resnet20_C_weights_float_acts_qdq.onnx": Expected(37, 0, 0, 1, 20),
    # Integer kernels of ONNX Runtime against float ones.
    f"{QAT}/ort_resnet20_u8s8_pc_qoperator.onnx": Expected(38, 20, 20, steps=1.0),
    f"{QAT}/pt2e_resnet20_pc_dynamo18.onnx": Expected(40, 20, 0),
    f"{QAT}/pt2e_resnet20_pc_dynamo21.onnx": Expected(40, 20, 0),
    f"{QAT}/resnet20_cifar10_jpegft_qat_qdq.onnx": Expected(38, 20, 0),
    "kws/models/mlperf_kws_fp32_ort_qdq.onnx": Expected(15, 10, 10),
}
