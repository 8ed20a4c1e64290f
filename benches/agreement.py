"""Agreement with the software that defined a model, and where it is kept: a JSON file per model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """Compared integers: all, equal ones, those at most one step apart, the largest distance."""

    elements: int = 0
    equal: int = 0
    within_one: int = 0
    largest: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.elements + other.elements,
            self.equal + other.equal,
            self.within_one + other.within_one,
            max(self.largest, other.largest),
        )


@dataclass(frozen=True)
class Answers:
    """Final answers of a whole evaluation.

    Attributes:
        samples: in the evaluation.
        same_outputs: samples whose every output element is equal.
        same_class: samples with the same best class; None where there is none.
        metric: what percent means.
        ours, theirs: percent.
        largest: difference of an output element, in units of the output.
    """

    samples: int
    same_outputs: int
    same_class: int | None
    metric: str
    ours: float
    theirs: float
    largest: float


@dataclass(frozen=True)
class Agreement:
    """One model against the software that defined it.

    Attributes:
        name: of the network.
        variant: how it was quantized.
        date: of the measurement.
        frames: real inputs behind the layers' counts.
        layers: by kind of layer and kernel of the other software, each layer fed with the other's
            integers.
        unoptimized: the same with the other software's graph optimization off.
        whole: by kind, the whole network running by itself: every tensor that both have.
        fixed, floats: layers in fixed point, and nodes in float islands.
        notices: of the compilation.
        answers: of the evaluation; None where there was none.
        plain: answers against the other software without graph optimization, where measured.
        fault: why there are no figures.
    """

    name: str
    variant: str
    date: str
    frames: int = 0
    layers: Mapping[str, Counts] = field(default_factory=dict)
    unoptimized: Mapping[str, Counts] = field(default_factory=dict)
    whole: Counts = field(default_factory=Counts)
    fixed: int = 0
    floats: int = 0
    notices: tuple[str, ...] = ()
    answers: Answers | None = None
    plain: Answers | None = None
    fault: str = ""


def save(folder: Path, agreement: Agreement) -> None:
    """Writes one result whole."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{agreement.name}__{agreement.variant.replace(' ', '_')}.json"
    part = target.with_suffix(".part")
    part.write_text(json.dumps(dataclasses.asdict(agreement), indent=1))
    part.replace(target)


def has(folder: Path, name: str, variant: str) -> bool:
    """The result is there."""
    return (folder / f"{name}__{variant.replace(' ', '_')}.json").exists()


def load_all(folder: Path) -> list[Agreement]:
    """Every result of a folder, by name and variant."""
    found = []
    for file in sorted(folder.glob("*.json")):
        raw = json.loads(file.read_text())
        for key in ("layers", "unoptimized"):
            raw[key] = {kind: Counts(**counts) for kind, counts in raw[key].items()}
        raw["whole"] = Counts(**raw["whole"])
        for key in ("answers", "plain"):
            raw[key] = None if raw.get(key) is None else Answers(**raw[key])
        found.append(Agreement(**{**raw, "notices": tuple(raw["notices"])}))
    return found


def total(counts: Mapping[str, Counts]) -> Counts:
    """Over all kinds."""
    return sum(counts.values(), Counts())
