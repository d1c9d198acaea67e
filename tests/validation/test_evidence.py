import numpy as np
import pytest

from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.model.session import Session
from onnxshallow.validation.compare import compare_models
from onnxshallow.validation.evidence import data_findings
from onnxshallow.validation.gates import Limits
from onnxshallow.validation.seen import Seen
from tests.networks import smooth
from tests.runs import net

IMAGES = smooth(40, 3, 6)


@pytest.fixture(scope="module")
def session():
    return Session(net(), threads=1)


def found(session, images=IMAGES, fitted=None, max_drop=None, max_error=None, **given):
    """What speaks against samples on which a network is compared with itself."""
    samples = Samples({"x": ArrayColumn(images, np.dtype(np.float32))}, source="v", **given)
    comparison = compare_models(session, session, labelled_batches(samples, 16))
    seen = None if fitted is None else Seen.of([{"x": fitted}])
    findings = data_findings(samples, comparison, Limits(max_drop, max_error=max_error), seen, "c")
    return [(finding.text, finding.refuses) for finding in findings]


def right(session):
    return session.run({"x": IMAGES})[0].argmax(axis=1).astype(np.int64)


def test_good_samples_need_no_word(session):
    assert found(session, labels=right(session), fitted=smooth(20, 3, 6, seed=5)) == []


def test_labels_count_where_accuracy_is_gated(session):
    shifted = (right(session) + 1) % 6
    ((text, refuses),) = found(session, labels=shifted)
    assert refuses
    assert "The labels of v do not fit" in text
    assert found(session, labels=shifted, max_error=0.5) == []


def test_class_folders_are_looked_at_where_labels_are_right_by_themselves(session):
    ((text, refuses),) = found(session, labels=right(session), class_names=("a", "b"))
    assert (text, refuses) == ("v has 2 class folders (a, b), the network 6 classes.", False)


def test_what_was_fitted_to_is_looked_for(session):
    ((text, refuses),) = found(session, fitted=IMAGES)
    assert refuses
    assert "All 40 samples of v that it was validated on are calibration samples" in text


def test_a_black_image_does_not_hide_what_was_fitted_to(session):
    images = np.concatenate([np.zeros_like(IMAGES[:1]), IMAGES])
    _, (constant, told), (shared, refuses) = found(session, images=images, fitted=images)
    assert (constant, told) == ("1 of 41 samples of v hold one value only.", False)
    assert refuses
    assert "All 41 samples of v that it was validated on are calibration samples" in shared


def test_calibration_samples_prove_something_themselves(session):
    ((text, refuses),) = found(session, fitted=np.zeros_like(IMAGES))
    assert refuses
    assert text.startswith("All samples of c hold one value only")


def test_made_up_samples_are_not_judged(session):
    assert found(session, images=np.zeros_like(IMAGES), synthetic=True) == []


def test_samples_that_were_only_watched_count_as_shared(session):
    samples = Samples({"x": ArrayColumn(IMAGES, np.dtype(np.float32))}, source="v")
    comparison = compare_models(session, session, labelled_batches(samples, 16))
    fitted, watched = (Seen.of([{"x": images}]) for images in (smooth(20, 3, 6, seed=5), IMAGES[:10]))
    (finding,) = data_findings(samples, comparison, Limits(), fitted, "c", watched)
    assert finding.text.startswith("10 of 40 samples of v")
