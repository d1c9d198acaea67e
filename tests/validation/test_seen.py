import numpy as np
import pytest

from onnxshallow.validation.seen import Seen, SeenTally, constant_samples, shared_samples
from tests.networks import smooth

IMAGES = smooth(40, 3, 6)


def seen(images, batch=16):
    return Seen.of({"x": images[start : start + batch]} for start in range(0, len(images), batch))


def said(findings):
    return [(finding.about, finding.refuses, finding.text) for finding in findings]


def test_samples_are_told_apart_by_what_they_hold():
    assert len(set(seen(IMAGES).digests)) == 40
    assert seen(IMAGES).digests == seen(IMAGES, 7).digests
    assert seen(IMAGES[::-1]).digests == seen(IMAGES).digests[::-1]


def test_every_input_counts():
    tally = SeenTally()
    flag = np.array([[0], [1], [1]], np.int64)
    text = np.array([["a"], ["a"], ["b"]], object)
    tally.add({"x": IMAGES[[0, 0, 0]], "flag": flag, "text": text})
    tally.add({"x": IMAGES[[0]], "flag": flag[[0]], "text": text[[0]]})
    first, second, third, again = tally.result().digests
    assert len({first, second, third}) == 3
    assert first == again


def test_samples_without_any_contrast_are_counted():
    images = IMAGES.copy()
    images[3], images[5], images[7] = 0.0, 0.25, np.nan
    assert seen(images).constant == 2
    assert Seen.of([{"flag": np.ones((4, 1))}]).constant == 0
    assert Seen.of([{"x": images[2:4], "y": IMAGES[2:4]}]).constant == 0


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_samples_that_hold_one_value_prove_nothing(value):
    ((about, refuses, text),) = said(constant_samples(seen(np.full_like(IMAGES, value)), "a.npz"))
    assert (about, refuses) == ("data", True)
    assert text == "All samples of a.npz hold one value only, and prove nothing; give real inputs."


def test_samples_that_are_all_the_same_prove_nothing():
    ((_, refuses, text),) = said(constant_samples(seen(np.repeat(IMAGES[:1], 40, axis=0)), "a.npz"))
    assert refuses
    assert "All 40 samples of a.npz are the same" in text
    assert constant_samples(seen(IMAGES[:1]), "a.npz") == []


def test_a_few_constant_samples_are_told():
    images = IMAGES.copy()
    images[:3] = 0.0
    assert said(constant_samples(seen(images), "a.npz")) == [
        ("data", False, "3 of 40 samples of a.npz hold one value only.")
    ]


@pytest.mark.parametrize(("different", "told"), [(2, True), (20, True), (21, False)])
def test_samples_that_come_again_and_again_are_told(different, told):
    repeated = np.resize(IMAGES[:different], IMAGES.shape)
    found = said(constant_samples(seen(repeated), "a.npz"))
    assert found == ([("data", False, f"Only {different} of 40 samples of a.npz are different.")] if told else [])


def test_validating_on_what_was_fitted_to_is_refused():
    ((about, refuses, text),) = said(shared_samples(seen(IMAGES[:10]), seen(IMAGES), "b.npz"))
    assert (about, refuses) == ("data", True)
    assert "All 10 samples of b.npz that it was validated on are calibration samples" in text


def test_some_shared_samples_are_told_with_their_number():
    fitted = seen(IMAGES[:20])
    assert said(shared_samples(seen(IMAGES[18:]), fitted, "b.npz")) == [
        ("data", False, "2 of 22 samples of b.npz that it was validated on are calibration samples, too.")
    ]
    assert shared_samples(seen(IMAGES[20:]), fitted, "b.npz") == []


def test_one_sample_in_a_hundred_may_be_shared():
    fresh = smooth(99, 3, 6, seed=7)
    assert shared_samples(seen(np.concatenate([IMAGES[:1], fresh])), seen(IMAGES), "b.npz") == []
