"""What a measured speed says for or against a model."""

import numpy as np
import pytest

from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.latency import Timing
from onnxshallow.validation.speed import speed_finding, speed_in_words, speeds
from tests.runs import speed_of


def test_every_model_is_measured_beside_the_first():
    timings = [Timing(np.full(20, seconds), 60) for seconds in (0.002, 0.001, 0.004)]
    fast, slow = speeds(timings, batch_size=8, threads=2)
    assert (fast.original_ms, fast.optimized_ms, fast.optimized_interval, fast.speedup) == (2.0, 1.0, (1.0, 1.0), 2.0)
    assert (slow.original_ms, slow.optimized_ms, slow.speedup) == (2.0, 4.0, 0.5)
    assert (fast.batch_size, fast.threads, fast.runs) == (8, 2, 60)
    assert fast.speedup_interval == (2 * 0.99, 2 * 1.01)


def test_a_ratio_is_told_with_its_interval_and_batch():
    said = "0.92x as fast as the original in onnxruntime (95 % 0.91 to 0.93), batch 1"
    assert speed_in_words(speed_of(0.92, 1.0, off=0.01)) == said
    assert speed_in_words(speed_of(1.31, 1.0, off=0.01)).startswith("1.31x as fast as the original")


def test_a_ratio_that_may_be_one_is_not_told_as_a_difference():
    said = "as fast as the original in onnxruntime within what can be measured (95 % 0.98 to 1.02), batch 1"
    assert speed_in_words(speed_of(1.001, 1.0, off=0.02)) == said


@pytest.mark.parametrize("after", [0.5, 1.0, 2.0])
def test_where_no_speed_was_asked_for_none_refuses(after):
    assert speed_finding(speed_of(1.0, after)) == Finding("speed", speed_in_words(speed_of(1.0, after)))


@pytest.mark.parametrize(
    ("target", "after", "off", "refused"),
    [
        (0.7, 0.69, 0.0, False),
        (0.7, 0.69, 0.02, True),  # it may be 0.704
        (0.7, 0.71, 0.0, True),
        ("1.4ms", 1.39, 0.0, False),
        ("1.4ms", 1.39, 0.02, True),
        (1, 0.99, 0.005, False),
        (1, 1.0, 0.01, True),  # as fast as before, as far as is known
    ],
)
def test_what_was_asked_for_is_met_where_the_whole_interval_keeps_it(target, after, off, refused):
    finding = speed_finding(speed_of(1.0, after, off), target)
    assert (finding.about, finding.refuses) == ("speed", refused)
    assert finding.text.endswith("less other load.") is refused


def test_a_refusal_says_what_was_measured_and_what_was_asked_for():
    text = speed_finding(speed_of(2.0, 1.5), "0.5").text
    assert "1.33x as fast" in text
    assert "0.750 of the original's time, more than --target-latency 0.5 allows" in text
    assert "it may take 1.500 ms, more than --target-latency 1ms" in speed_finding(speed_of(2.0, 1.5), "1ms").text
