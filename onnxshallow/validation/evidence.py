"""Whether the samples prove anything: what speaks against them, and so against what they say of a model."""

from dataclasses import replace

from onnxshallow.data.samples import Samples
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.gates import DEFAULT_MAX_DROP, DEFAULT_MAX_ERROR, ROUNDING, Limits, check_gates
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.labels import class_folders, labels_that_do_not_fit
from onnxshallow.validation.seen import Seen, constant_samples, shared_samples

__all__ = ["data_findings"]

# What is lost beyond this is more than nothing, also where the user allows more.
_DEFAULTS = {"max-drop": DEFAULT_MAX_DROP, "min-agreement": DEFAULT_MAX_DROP, "max-error": DEFAULT_MAX_ERROR}


def data_findings(
    samples: Samples,
    comparison: Comparison,
    limits: Limits | None,
    fitted: Seen | None = None,
    fitted_from: str = "",
    others: Seen | None = None,
) -> list[Finding]:
    """What speaks against the data, in sentences.

    Args:
        samples: that the models were compared on.
        comparison: of the models, with labels where these decide.
        limits: the gates; labels are looked at where one is on accuracy. None where none is checked.
        fitted: the samples that layers were fitted to and plans chosen by; None where there are none, or none real.
        fitted_from: where they come from.
        others: samples of the same source that layers were fitted to, or weights learned from, as well.
    """
    gates = [] if limits is None else check_gates(comparison, limits)
    found = [] if fitted is None else constant_samples(fitted, fitted_from)
    if not samples.synthetic:
        seen, source = comparison.seen, samples.source
        known = Seen(tuple(digest for each in (fitted, others) if each is not None for digest in each.digests))
        found += _left_out(len(samples), comparison.fidelity.samples, source)
        found += [*constant_samples(seen, source), *shared_samples(seen, known, source)]
        if any(gate.name == "max-drop" for gate in gates):
            unfit = [finding for fit in comparison.labels for finding in labels_that_do_not_fit(fit, source)]
            found += unfit[:1] or [
                finding
                for fit in comparison.labels
                for finding in class_folders(samples.class_names, fit.classes, source)
            ]
        if limits is not None and all(gate.met for gate in gates) and not any(finding.refuses for finding in found):
            found += _kept_by_constants(comparison, limits)
    return list(dict.fromkeys(found))  # the same may be said of samples of one source


def _left_out(given: int, compared: int, source: str) -> list[Finding]:
    """What is to be said where the model runs on full batches only, and the samples are no multiple of one."""
    if compared >= given:
        return []
    text = f"{given - compared} of {given} samples of {source} were left out, as the model runs on full batches only."
    return [Finding("data", text)]


def _kept_by_constants(comparison: Comparison, limits: Limits) -> list[Finding]:
    """What is to be said of gates that a model keeps that says the same whatever it is shown.

    Each output that changed is looked at by itself, and where none depends on the samples all are. Gates that let
    everything pass are meant to.
    """
    constant = comparison.constant
    if constant is None or comparison.fidelity.samples < 2:
        return []
    numbers = [output for output in constant.fidelity.outputs if output.equal is None]
    looked_at = numbers
    if any(output.error.value > ROUNDING for output in numbers):
        pairs = zip(comparison.fidelity.outputs, constant.fidelity.outputs, strict=True)
        looked_at = [output for own, output in pairs if own.error.value > ROUNDING]
    alone = [replace(constant.fidelity, outputs=(output,)) for output in looked_at]
    gates = [gate for fidelity in alone for gate in check_gates(replace(constant, fidelity=fidelity), limits)]
    return [
        Finding(
            "data",
            f"A model that always says the same would pass, too ({gate.in_short()}); validate on samples that differ "
            "more, or set a tighter gate.",
        )
        for gate in gates
        if gate.allowed < 1 and gate.lost <= min(gate.allowed, _DEFAULTS[gate.name])
    ]
