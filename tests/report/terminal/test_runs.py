from pathlib import Path

import pytest

from onnxshallow.actions.partial import InPart
from onnxshallow.report.build.changes import change_reports
from onnxshallow.report.schema.reports import (
    AnalysisReport,
    FileReport,
    ParetoPoint,
    ParetoReport,
    PlanReport,
    SensitivityReport,
    SiteReport,
)
from onnxshallow.report.terminal.runs import print_analysis, print_pareto, print_plan, print_result, print_sensitivity
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.judgement import Finding
from tests.report.schema.test_reports import COST, FIDELITY, FILE, VERDICT, changed, report
from tests.runs import speed_of

SITE = SiteReport(name="r", kind="relu", size=12345, depth=2, removable=True, fusable=True, reason=None)
ACCURACY = Accuracy(top1=0.875, top5=None, top1_interval=(0.8, 0.9), samples=8)
ODD = ["a[/b]c", "[red]d", ":smile:", "x" * 120]


def analysis(*sites, unknown=()):
    return AnalysisReport(model=FILE, totals=COST, sites=list(sites), unknown=list(unknown))


def test_an_analysis(capsys):
    stays = changed(SITE, name="s", removable=False, fusable=False, reason="it is a graph output", size=None)
    apart = changed(SITE, name="t", fusable=False, reason="no convolution follows")
    print_analysis(analysis(SITE, stays, apart, unknown=["conv"]))
    text = capsys.readouterr().out
    for words in (
        "12 345", "removed, fused", "s stays: it is a graph output.", "t is not fused: no convolution follows.", "?",
        "2 ReLUs in 1 sites", "1 nodes have shapes that are not known", "such as 'conv'", "--input-shape",
    ):  # fmt: skip
        assert words in text


def test_sites_that_one_reason_stands_against_share_a_line(capsys):
    open_axes = "its shape is not known"
    stays = [changed(SITE, name=name, removable=False, fusable=False, reason=open_axes) for name in ("s", "t")]
    apart = [changed(SITE, name=name, fusable=False, reason=open_axes) for name in ("u", "v")]
    print_analysis(analysis(stays[0], apart[0], stays[1], apart[1]))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(f"{open_axes}.")] == [
        f"s, t stay: {open_axes}.",
        f"u, v are not fused: {open_axes}.",
    ]


@pytest.mark.parametrize("name", ODD)
def test_names_are_printed_as_they_are(capsys, name):
    site = changed(SITE, name=name, fusable=False, reason=f"{name} is in the way", damages={f"fuse:{name}": 0.5})
    print_analysis(analysis(site))
    assert f"{name} is not fused: {name} is in the way.\n" in capsys.readouterr().out
    print_sensitivity(
        SensitivityReport(
            model=FILE, totals=COST, sites=[site], measure="kl", samples=8, source=name, versions={}, seed=0
        )
    )
    assert f"held-out samples of {name}." in capsys.readouterr().out
    fidelity = changed(FIDELITY, source=name)
    print_result(report(fidelity=fidelity, output=FileReport(path=name, sha256=None)), {"Report": Path(name)})
    text = capsys.readouterr().out
    assert f"Written: {name}\n" in text
    assert f"Report: {name}\n" in text


@pytest.mark.parametrize("name", ["\x1b[2Jx", "x\nerror: fake", "x\r", "\x9b31m", "\u202etxt"])
def test_names_cannot_act(capsys, name):
    site = changed(SITE, name=name, fusable=False, reason=f"{name} is in the way", damages={f"fuse:{name}": 0.5})
    print_analysis(analysis(site))
    print_sensitivity(
        SensitivityReport(
            model=FILE, totals=COST, sites=[site], measure="kl", samples=8, source=name, versions={}, seed=0
        )
    )
    text = capsys.readouterr().out
    assert name not in text
    assert name.encode("unicode_escape").decode() in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_long_paths_stay_in_one_line(capsys):
    path = "/".join(["folder"] * 60)
    print_result(report(output=FileReport(path=path, sha256=None)), {"Report": Path(path)})
    assert f"Written: {path}\n" in capsys.readouterr().out


def test_a_sensitivity(capsys):
    site = changed(
        SITE,
        sensitivity=0.25,
        damages={"linearize:a->b": 0.25, "fuse:a": 0.5, "fuse:b": None, "fuse:c": 0.125}
        | {"mask:kept3:a->b": 0.0625},
        best_merger="fuse:c",
    )
    none = changed(SITE, name="s", damages={})
    print_sensitivity(
        SensitivityReport(
            model=FILE, totals=COST, sites=[site, none], measure="mse", samples=8, source="a.npz", versions={}, seed=0
        )
    )
    text = capsys.readouterr().out
    assert "fuse:c" in text
    assert "0.1250" in text
    assert "fuse:a" not in text
    assert "mask" not in text
    assert "Damage (relative squared error) on 8 held-out samples of a.npz." in text


def test_a_result(capsys):
    good = changed(COST, accuracy=changed(ACCURACY, top5=0.99), size_bytes=1000)
    verdict = changed(
        VERDICT,
        accuracy_lost=0.0125,
        accuracy_lost_interval=(0.0, 0.025),
        mcnemar_p=0.5,
        reasons=["a remark"],
        line="Goal met: a fact.",
    )
    print_result(report(original=good, optimized=good, verdict=verdict), {"Report": Path("a.json")})
    text = capsys.readouterr().out
    for words in (
        "1.000", "87.50", "99.00", "latency, ms", "1 000", "same class for 50.00 %", "KL 0.1000",
        "relative error of 'y' 0.2500", "Accuracy lost: 1.25 points (95 % interval 0.00 to 2.50; McNemar p = 0.5)",
        "Note: a remark.", "Report: a.json\nGoal met: a fact.\n",
    ):  # fmt: skip
        assert words in text
    assert "Written" not in text


def test_the_speed_stands_in_the_table_with_its_interval(capsys):
    print_result(
        report(original=COST, optimized=COST, speed=speed_of(0.92, 1.0, off=0.01)), {"Report": Path("a.json")}
    )
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "times as fast" in line]
    assert row == ["times", "as", "fast", "1", "0.920", "0.91", "to", "0.93"]


def test_the_verdict_comes_last_and_says_once_why(capsys):
    refusal = Finding("target", "Out of reach.", refuses=True)
    verdict = changed(
        VERDICT, status="target", exit_code=5, reasons=["Out of reach.", "a remark"], findings=(refusal,),
        line="Not met: Out of reach.",
    )  # fmt: skip
    print_result(report(fidelity=None, verdict=verdict), {"Report": Path("a.json")})
    assert capsys.readouterr().out == "Note: a remark.\nReport: a.json\nNot met: Out of reach.\n"


def test_a_network_of_nothing_has_no_ratio(capsys):
    empty = changed(COST, relus=0, relu_nodes=0, size_bytes=None, latency_ms=None)
    print_result(report(original=empty, optimized=empty), {"Report": Path("a.json")})
    assert "latency" not in capsys.readouterr().out


POINT = ParetoPoint(target_relus=1, optimized=changed(COST, relus=1, macs=6, latency_ms=0.25), fidelity=FIDELITY)


def printed(capsys, *points, original=COST, validated=True):
    """What is printed of a frontier."""
    print_pareto(
        ParetoReport(
            model=FILE, original=original, points=list(points), validated=validated, timings={}, versions={},
            config={}, seed=0,
        )
    )  # fmt: skip
    return capsys.readouterr().out


def test_a_frontier(capsys):
    lossy = changed(POINT, accuracy_lost=0.0125, fidelity=changed(FIDELITY, agreement=0.9, kl=0.5))
    text = printed(capsys, POINT, lossy)
    assert "points lost" in text
    first, second = (line.split() for line in text.splitlines() if line.startswith(" 0."))
    assert first == ["0.500", "0.500", "0.667", "1", "->", "1", "0.500", "50.00", "0.1000"]
    assert second == ["0.500", "0.500", "0.667", "1", "->", "1", "0.500", "90.00", "0.5000", "1.25"]
    assert "validated" not in text


def test_targets_out_of_reach_are_told_below_the_table(capsys):
    reason = "The target of 12345 ReLUs cannot be reached: " + "the lowest possible is more. " * 9
    text = printed(capsys, POINT, ParetoPoint(target_relus=12345, reason=f"{reason}[/b]"))
    assert f"\n12 345 ReLUs: {reason}[/b]\n" in text
    assert sum(line.startswith(" 0.") for line in text.splitlines()) == 1


def test_a_frontier_of_what_is_not_known(capsys):
    fidelity = changed(FIDELITY, agreement=None, kl=None)
    bare = changed(POINT, fidelity=fidelity, optimized=changed(COST, latency_ms=None))
    text = printed(capsys, bare, original=changed(COST, relus=0, macs=0))
    assert "points lost" not in text
    assert ["-", "-", "-", "1", "->", "1", "-", "-", "-"] in [line.split() for line in text.splitlines()]


def test_a_frontier_on_synthetic_images_says_so(capsys):
    assert printed(capsys, POINT, validated=False).endswith(
        "Not validated: calibrated on synthetic images, no accuracy is known.\n"
    )


def test_squares_are_told_where_there_are_any(capsys):
    with_some = changed(COST, squares=1234)
    print_analysis(analysis(SITE))
    print_result(report(original=COST, optimized=COST), {"Report": Path("a.json")})
    assert "square" not in capsys.readouterr().out
    assert "square" not in printed(capsys, POINT)
    print_analysis(AnalysisReport(model=FILE, totals=with_some, sites=[], unknown=[]))
    assert "1 234 squares." in capsys.readouterr().out
    print_result(report(original=COST, optimized=with_some), {"Report": Path("a.json")})
    assert ["squares", "0", "1", "234", "-"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert "levels" not in capsys.readouterr().out
    print_result(report(original=COST, optimized=changed(with_some, relus=0, levels=7)), {"Report": Path("a.json")})
    assert "levels of products" in capsys.readouterr().out
    lines = printed(capsys, changed(POINT, optimized=changed(POINT.optimized, squares=1234))).splitlines()
    assert "squares" in lines[1]
    assert ["0.500", "0.500", "1", "234", "0.667"] in [line.split()[:5] for line in lines]


def test_a_plan_says_what_a_site_keeps_and_what_squares_it_adds(capsys):
    candidate = InPart("mask", ("r",), "a", "b", relus=5, kept=1200)
    square = InPart("quadratic", ("s",), "b", "c", relus=7, squares=3400, kept=0)

    def told(*candidates):
        print_plan(
            PlanReport(
                model=FILE, original=COST, predicted=COST, damage=0.5, decisions=[],
                changes=change_reports(Plan(candidates, {})), plan={}, measure="kl", samples=8, source="a.npz",
                validated=True, timings={}, versions={}, config={}, seed=0,
            )
        )  # fmt: skip
        return capsys.readouterr().out

    assert "mask, keeps 1 200" in told(candidate)
    assert "squares" not in told(candidate)
    text = told(candidate, square)
    assert "squares added" in text
    assert "3 400" in text
