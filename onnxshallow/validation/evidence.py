"""Whether the samples prove anything: what speaks against them, and so against what they say of a model."""

from collections.abc import Sequence

from onnxshallow.data.samples import Samples
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.gates import Gate
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.labels import class_folders, labels_that_do_not_fit
from onnxshallow.validation.seen import Seen, constant_samples, shared_samples

__all__ = ["data_findings"]


def data_findings(
    samples: Samples,
    comparison: Comparison,
    gates: Sequence[Gate],
    fitted: Seen | None = None,
    fitted_from: str = "",
    watched: Seen | None = None,
) -> list[Finding]:
    """What speaks against the data, in sentences.

    Args:
        samples: that the models were compared on.
        comparison: of the models, with labels where these decide.
        gates: that were checked; labels are looked at where one is on accuracy.
        fitted: the samples that layers were fitted to and plans chosen by; None where there are none, or none real.
        fitted_from: where they come from.
        watched: extreme samples of the same source that layers were fitted to as well.
    """
    found = [] if fitted is None else constant_samples(fitted, fitted_from)
    if not samples.synthetic:
        seen, source = comparison.seen, samples.source
        known = Seen(tuple(digest for each in (fitted, watched) if each is not None for digest in each.digests))
        found += constant_samples(seen, source) or shared_samples(seen, known, source)
        if any(gate.name == "max-drop" for gate in gates):
            unfit = [finding for fit in comparison.labels for finding in labels_that_do_not_fit(fit, source)]
            found += unfit[:1] or [
                finding
                for fit in comparison.labels
                for finding in class_folders(samples.class_names, fit.classes, source)
            ]
    return list(dict.fromkeys(found))  # the same may be said of samples of one source
