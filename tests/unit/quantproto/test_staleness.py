"""What changed since a proto was written is told layer by layer, and what still holds is kept."""

from __future__ import annotations

from dataclasses import replace

from tidlq.quantproto import (
    ModelChanges,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    adopt,
    find_changes,
)
from tidlq.spec import Range


def layer(name: str, digest: str = "", kind: str = "Convolution", size: int = 8) -> SavedLayer:
    weights = (SavedTensor(f"{name}.weight", Range(-1.0, 1.0), 4),) if digest else ()
    return SavedLayer(
        name,
        f"TIDL_{kind}Layer",
        (SavedTensor(f"{name}_out", Range(0.0, 1.0), size),),
        weights,
        parameter_digest=digest,
    )


BEFORE = SavedRanges(
    (layer("x", kind="Data"), layer("a", "1"), layer("r", kind="ReLU"), layer("b", "2"))
)


def changes(*now: SavedLayer) -> ModelChanges:
    return find_changes(BEFORE, SavedRanges(now))


def test_nothing_changed_in_equal_layers() -> None:
    found = changes(*BEFORE.layers)
    assert found == ModelChanges()
    assert found.describe() == "the layers and their weights are the same, not all else is"


def test_every_kind_of_change_is_told() -> None:
    found = changes(
        layer("x", kind="Data", size=9), layer("a", "9"), layer("r", kind="Clip"), layer("c", "3")
    )
    assert found == ModelChanges(
        added=("c",), removed=("b",), retyped=("r",), reweighted=("a",), reshaped=("x",)
    )
    assert found.describe() == (
        "1 layer added: c; 1 layer removed: b; 1 layer of another type: r; "
        "1 layer with other weights: a; 1 layer with outputs of another size: x"
    )


def test_layers_with_the_same_parameters_in_the_same_order_were_renamed() -> None:
    found = changes(
        layer("x", kind="Data"), layer("new/a", "1"), layer("new/r", kind="ReLU"), layer("b", "2")
    )
    assert found == ModelChanges(renamed={"a": "new/a", "r": "new/r"})
    assert found.describe() == "2 layers renamed: a (now new/a), r (now new/r)"


def test_a_layer_put_between_renamed_ones_is_added() -> None:
    found = changes(
        layer("in", kind="Data"),
        layer("1", "1"),
        layer("2", "7"),
        layer("3", kind="ReLU"),
        layer("4", "2"),
    )
    assert found == ModelChanges(added=("2",), renamed={"x": "in", "a": "1", "r": "3", "b": "4"})


def test_a_file_without_digests_says_that_it_cannot_tell_weights_apart() -> None:
    old = replace(BEFORE, layers=tuple(replace(x, parameter_digest="") for x in BEFORE.layers))
    found = find_changes(old, SavedRanges(BEFORE.layers))
    assert not found.has_digests
    assert "weights go unnoticed" in found.describe()
    assert "weights" in ModelChanges(reweighted=("a",)).describe()


def test_layers_that_an_equalization_added_are_not_removed_ones() -> None:
    saved = SavedRanges(
        (replace(layer("a", "1"), equalization=(2.0,)), layer("a/bound", kind="Clip"))
    )
    now = SavedRanges((layer("z", "1"),))
    found = find_changes(saved, now)
    assert found == ModelChanges(renamed={"a": "z"})
    assert [x.name for x in adopt(saved, now, found).layers] == ["z", "z/bound"]


def test_renamed_layers_keep_their_ranges_under_the_new_names() -> None:
    now = SavedRanges((BEFORE.layers[0], layer("z", "1"), *BEFORE.layers[2:]))
    adopted = adopt(BEFORE, now, find_changes(BEFORE, now))
    assert adopted.layers[1] == layer("z", "1")


def test_parameters_of_other_weights_and_layers_of_another_type_go() -> None:
    now = SavedRanges(
        (BEFORE.layers[0], layer("a", "9"), layer("r", kind="Clip"), BEFORE.layers[3])
    )
    adopted = adopt(BEFORE, now, find_changes(BEFORE, now))
    assert [x.name for x in adopted.layers] == ["x", "a", "b"]
    assert adopted.layers[1].weights == ()
    assert adopted.layers[1].outputs == BEFORE.layers[1].outputs


def test_a_long_list_of_names_is_cut() -> None:
    many = tuple(f"l{number}" for number in range(9))
    assert ModelChanges(added=many).describe().endswith("l4, l5 and 3 more")
