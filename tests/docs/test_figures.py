"""Figures in the documentation are those of the results that lie beside it."""

import json

import pytest

from tests.docs.session import ROOT

RESULTS = json.loads((ROOT / "benchmarks/results/resnet20-cifar10-quantization.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/how-to/quantize.md").read_text(encoding="utf-8")
NAMES = {"minmax": "MinMax", "percentile": "Percentile", "symmetric": "MinMax, symmetric"}


@pytest.mark.parametrize("row", RESULTS["int8"], ids=lambda row: row["method"])
def test_quantizing_costs_what_the_page_says_and_at_most_a_point_more_than_before(row):
    lost = []
    for position, (network, shown) in enumerate((("original", "original"), ("optimized", "shallow"))):
        before, after = RESULTS["float32"]["top1"][position], row[network]["top1"][1]
        low, high = row[network]["interval"]
        lost.append(100 * (before - after))
        figures = f"{100 * before:.2f} | {100 * after:.2f} | {lost[-1]:.2f} ({100 * low:.2f} to {100 * high:.2f})"
        assert f"| {NAMES[row['method']]} | {shown} | {figures} |" in PAGE
    assert lost[1] - lost[0] <= 1.0


def test_the_other_order_costs_what_the_page_says():
    late = {row["method"]: row["quantized_first"] for row in RESULTS["int8"]}
    assert f"**{100 * late['symmetric']['top1'][1]:.2f}**" in PAGE
    assert f"{100 * late['minmax']['top1'][1]:.2f} or {100 * late['percentile']['top1'][1]:.2f}, nothing" in PAGE
    assert late["minmax"]["relus"] == late["minmax"]["before"]["relus"] == 0


OTHERS = json.loads((ROOT / "benchmarks/results/others.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("way", OTHERS["ways"])
def test_other_tools_make_what_the_page_says(way):
    page = (ROOT / "docs/other-tools.md").read_text(encoding="utf-8")
    found = OTHERS["ways"][way]
    figures = f"{found['macs']:.3f} | {found['relus']:.3f} | {found['depth']} | {found['points_lost']:.2f}"
    assert f"| {way} | {figures} | {found['times_as_fast']:.2f} |" in page
