"""Findings: what a check says about a network."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tidlq.errors import GateError


class Severity(enum.Enum):
    """How much a finding matters.

    ERROR: the device or the options do not allow it. WARNING: it costs speed or accuracy. HINT:
    what to try first, should the accuracy not be enough.
    """

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


class Rule(enum.Enum):
    """What was checked; the values are the ids that reports have."""

    NOT_ACCELERATED = "not-accelerated"
    NOT_VALIDATED = "not-validated"
    WIDE_DECONVOLUTION = "wide-deconvolution"
    STATED_SCALES = "stated-scales"
    OPSET = "opset"
    NO_BATCH_NORM = "no-batch-norm"
    WEIGHT_OUTLIERS = "weight-outliers"
    CHANNEL_SPREAD = "channel-spread"
    REGRESSION_HEAD = "regression-head"
    LAST_CONVOLUTION = "last-convolution"
    FLOAT_OUTPUT = "float-output"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        rule: what was checked.
        severity: how much it matters.
        layers: names of the layers that it is about, in execution order; empty where it is the
            whole network.
        sentence: what was found and what is allowed, or what to do about it.
        option: an option that helps, as `--option` takes it; None where there is none.
    """

    rule: Rule
    severity: Severity
    layers: tuple[str, ...]
    sentence: str
    option: str | None = None


@dataclass(frozen=True)
class LintReport:
    """All findings about a network.

    Attributes:
        model: the network's name.
        device: the device that it was checked for; None where only the guidelines were.
        layers: operations of the prepared network, of which the device accelerates `accelerated`.
        accelerated: the same as `layers` without a device.
        findings: the gravest first, then in execution order.
        unchecked: what could not be told from the file, in plain sentences.
    """

    model: str
    device: str | None
    layers: int
    accelerated: int
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """There are hints at most."""
        return all(finding.severity is Severity.HINT for finding in self.findings)

    def check(self) -> None:
        """Refuses a network with errors or warnings.

        Raises:
            GateError: There are some; the message counts them.
        """
        if self.is_clean:
            return
        grave = [item for item in self.findings if item.severity is not Severity.HINT]
        rules = ", ".join(dict.fromkeys(item.rule.value for item in grave))
        count = len(grave)
        raise GateError(
            f"the network {self.model!r} has {count} finding{'s' if count > 1 else ''} that "
            f"{'are' if count > 1 else 'is'} more than a hint: {rules}."
        )
