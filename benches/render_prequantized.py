"""Renders docs/prequantized.md from the results of the agreement and conversion benches.

python benches/render_prequantized.py [--cache FOLDER] [--markdown docs/prequantized.md]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from agreement import Agreement, Counts, load_all, total
from bench_conversion import CONVERSIONS
from bench_tflite_exact import FLOAT, INTEGER
from page import write_page

PAGE = Path(__file__).with_name("prequantized_page.md")
FLOAT_KERNEL = "QuantizeLinear"


def table(titles: list[str], rows: Iterable[list[str]], left: int = 1) -> str:
    """Markdown; the first columns are text, the rest numbers."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * left]
    lines[1] += "---:|" * (len(titles) - left)
    found = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, *found]) if found else "Not measured."


def percent(part: int, whole: int) -> str:
    """Never rounded up to 100."""
    if part == whole:
        return "100"
    return f"{min(100 * part / whole, 99.9999):.4f}"


def share(counts: Counts) -> list[str]:
    """Elements, percent equal, percent within one step, largest difference."""
    within = percent(counts.within_one, counts.elements)
    equal = percent(counts.equal, counts.elements)
    return [f"{counts.elements:,}", equal, within, str(counts.largest)]


def by_kind(
    results: Iterable[Agreement],
    pick: Callable[[Agreement], Mapping[str, Counts]],
    wanted: Callable[[str], bool],
) -> dict[tuple[str, str], Counts]:
    """Sums over models, by kind of layer and kernel."""
    found: dict[tuple[str, str], Counts] = {}
    for result in results:
        for key, counts in pick(result).items():
            kind, kernel = key.split(" | ")
            if wanted(kernel):
                pair = (simple(kind), kernel)
                found[pair] = found.get(pair, Counts()) + counts
    return dict(sorted(found.items()))


def simple(kind: str) -> str:
    """A chain of layers without repeated kinds."""
    return " + ".join(dict.fromkeys(kind.split(" + ")))


KIND_TITLES = ["layer", "ONNX Runtime's operator", "elements", "% equal", "% within one", "largest"]


def kinds(found: Mapping[tuple[str, str], Counts]) -> str:
    return table(KIND_TITLES, ([*pair, *share(counts)] for pair, counts in found.items()), 2)


def networks(results: Iterable[Agreement]) -> str:
    titles = ["network", "types", "layers equal", "all tensors, % equal", "samples"]
    titles += ["same outputs", "same class", "unoptimized", "metric", "ours", "ONNX Runtime"]
    rows = []
    for result in results:
        layers, a = total(result.layers), result.answers
        row = [result.name, result.variant, percent(layers.equal, layers.elements)]
        row.append(percent(result.whole.equal, result.whole.elements))
        if a is not None:
            same, plain = (
                "" if x is None or x.same_class is None else f"{x.same_class:,}"
                for x in (a, result.plain)
            )
            row += [f"{a.samples:,}", f"{a.same_outputs:,}", same, plain, a.metric]
            row += [f"{a.ours:.2f}", f"{a.theirs:.2f}"]
        rows.append(row + [""] * (len(titles) - len(row)))
    return table(titles, rows, 2)


def tflite(results: Iterable[Agreement]) -> str:
    titles = ["file", "samples", "same outputs", "all tensors of", "tensors", "elements"]
    titles += ["% equal", "metric", "ours", "LiteRT"]
    rows = []
    for result in results:
        tensors, a = total(result.layers), result.answers
        assert a is not None
        row = [result.name, f"{a.samples:,}", f"{a.same_outputs:,}", f"{result.frames:,}"]
        row += [str(len(result.layers)), f"{tensors.elements:,}"]
        row += [percent(tensors.equal, tensors.elements), a.metric]
        rows.append([*row, f"{a.ours:.2f}", f"{a.theirs:.2f}"])
    return table(titles, rows)


def tflite_float(results: Iterable[Agreement]) -> str:
    titles = ["file", "samples", "largest difference", "same class", "ours", "LiteRT"]
    rows = []
    for result in results:
        a = result.answers
        assert a is not None
        row = [result.name, f"{a.samples:,}", f"{a.largest:.2g}", f"{a.same_class:,}"]
        rows.append([*row, f"{a.ours:.2f}", f"{a.theirs:.2f}"])
    return table(titles, rows)


def conversions(results: list[Agreement]) -> str:
    rows = []
    for name in dict.fromkeys(result.name for result in results):
        found = {result.variant: result for result in results if result.name == name}
        known = next((r.answers for r in found.values() if r.answers is not None), None)
        if known is None:
            continue
        row = [name, known.metric, f"{known.samples:,}", f"{known.theirs:.2f}"]
        for conversion in CONVERSIONS:
            answers = found[conversion].answers if conversion in found else None
            row.append(f"{answers.ours:.2f}" if answers else "")
        rows.append(row)
    return table(["network", "metric", "samples", "own scales", *CONVERSIONS], rows, 2)


def render(cache: Path) -> str:
    """The page."""
    qdq = [r for r in load_all(cache / "qdq_agreement") if not r.fault]
    lite, converted = load_all(cache / "tflite_exact"), load_all(cache / "conversions")
    dates = sorted({result.date for result in (*qdq, *lite, *converted)})
    is_float = FLOAT_KERNEL.__eq__
    narrow = [r for r in qdq if "16" not in r.variant]
    wide = [r for r in qdq if "16" in r.variant]
    return PAGE.read_text().format(
        dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        kernels=kinds(by_kind(narrow, lambda r: r.layers, lambda k: k != FLOAT_KERNEL)),
        floats=kinds(by_kind(narrow, lambda r: r.layers, is_float)),
        wide=kinds(by_kind(wide, lambda r: r.layers, is_float)),
        unoptimized=kinds(by_kind(narrow, lambda r: r.unoptimized, is_float)),
        networks=networks(qdq),
        tflite=tflite(r for r in lite if r.variant == INTEGER),
        tflite_float=tflite_float(r for r in lite if r.variant == FLOAT),
        conversions=conversions(converted),
    )


if __name__ == "__main__":
    write_page(__doc__, render)
