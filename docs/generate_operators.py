"""Writes the list of ONNX operators in docs/operators.md from the recognisers themselves.

    python docs/generate_operators.py [--check]

With --check nothing is written; the exit code is 1 when the list is stale.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import onnx

from tidlq.graph.recognition import RECOGNISERS

PAGE = Path(__file__).resolve().parent / "operators.md"
BEGIN = "<!-- written by docs/generate_operators.py: begin -->\n"
END = "<!-- end -->\n"

# The import rewrites or evaluates these, so that nothing is left of them.
IMPORTED = {
    "evaluated on import where constant, removed where they change nothing; else in float": (
        *("Cast", "CastLike", "Constant", "ConstantOfShape", "Dropout", "EyeLike", "Identity"),
        *("Range", "Shape", "Size"),
    ),
    "read as the float operator and what it states of its tensors": (
        *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger"),
        *("QLinearConv", "QLinearMatMul", "QuantizeLinear"),
    ),
}
REASONS = {
    "writes positions, counts or truth values, no feature map": (
        *("And", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot"),
        *("BitwiseOr", "BitwiseXor", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN"),
        *("Less", "LessOrEqual", "NonMaxSuppression", "NonZero", "Not", "Or", "Unique"),
        *("Xor",),
    ),
    "control flow": ("If", "Loop", "Scan", "SequenceMap"),
    "works on sequences, optionals or text": (
        *("ConcatFromSequence", "ImageDecoder", "Optional", "OptionalGetElement"),
        *("OptionalHasElement", "RegexFullMatch", "SequenceAt", "SequenceConstruct"),
        *("SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength"),
        *("SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit"),
        *("TfIdfVectorizer",),
    ),
    "random": (
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"),
        *("RandomUniformLike",),
    ),
    "of training": ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    "recurrent": ("CausalConvWithState", "GRU", "LSTM", "LinearAttention", "RNN", "TensorScatter"),
    "its range is wider than integers of one scale hold": (
        *("CumProd", "Det", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
    ),
}
OTHER = "no integer kernel yet"


def render(page: str) -> str:
    """The page with its list as the recognisers say."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"


def operators() -> list[str]:
    """Every operator of ONNX's default domain, and those of older sets that are imported."""
    schemas = onnx.defs.get_all_schemas()
    return sorted({schema.name for schema in schemas if schema.domain == ""} | {*RECOGNISERS})


def table() -> str:
    """How every operator of ONNX is executed."""
    reasons = {name: reason for reason, names in REASONS.items() for name in names}
    imported = {name: how for how, names in IMPORTED.items() for name in names}
    lines = ["| ONNX | 8 bits | 16 bits | what the engine runs; all else is a float island |"]
    lines.append("|---|---|---|---|")
    floats: defaultdict[str, list[str]] = defaultdict(list)
    gone: defaultdict[str, list[str]] = defaultdict(list)
    for name in operators():
        if name in imported:
            gone[imported[name]].append(name)
        elif name in RECOGNISERS:
            what = (RECOGNISERS[name].__doc__ or "").splitlines()[0]
            lines.append(f"| {name} | integer | integer | {what} |")
        else:
            floats[reasons.get(name, OTHER)].append(name)
    lines += ["", "| operators that do not reach the engine | what becomes of them |", "|---|---|"]
    lines += [f"| {', '.join(names)} | {how} |" for how, names in gone.items()]
    lines += ["", "| float islands | reason |", "|---|---|"]
    ordered = sorted(floats.items(), key=lambda item: item[0] == OTHER)
    lines += [f"| {', '.join(names)} | {reason} |" for reason, names in ordered]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page, or compares it."""
    page = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(render(page) != page)
    PAGE.write_text(render(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
