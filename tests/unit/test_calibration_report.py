"""The report of calibration."""

from __future__ import annotations

from tidlq.calibration import BiasCalibration, LayerCorrection
from tidlq.report.calibration import calibration_report
from tidlq.spec import Equalization


def test_without_calibration_nothing_was_rescaled() -> None:
    report = calibration_report(Equalization(), None)
    assert report == {"rescaled_layers": 0, "bounds_per_channel": 0}


def test_rescaled_layers_and_bounds_are_counted() -> None:
    equalization = Equalization({"a": (1.0,), "b": (2.0,)}, {"b": 6.0})
    report = calibration_report(equalization, None)
    assert (report["rescaled_layers"], report["bounds_per_channel"]) == (2, 1)


def test_every_correction_is_reported_with_the_gain_in_decibels() -> None:
    done = LayerCorrection("conv", 2.5, 0.75, 0.04, 0.01)
    outcome = BiasCalibration({"conv": (1.0,)}, (done,), 3, 0.1, 0.001)
    bias = calibration_report(Equalization(), outcome)["bias"]
    assert (bias["is_kept"], bias["sweeps"]) == (True, 3)
    assert (bias["sqnr_db_before"], bias["sqnr_db_after"]) == (10.0, 30.0)
    assert bias["layers"] == [
        {
            "layer": "conv",
            "steps": 2.5,
            "damping": 0.75,
            "error_before": 0.04,
            "error_after": 0.01,
        }
    ]


def test_biases_that_stayed_as_they_were_are_told_apart() -> None:
    bias = calibration_report(Equalization(), BiasCalibration(error_before=0.0))["bias"]
    assert (bias["is_kept"], bias["sqnr_db_before"]) == (False, None)
