import html.parser
import re
from dataclasses import replace

import pytest

from onnxshallow.report.page.html import html_report
from onnxshallow.report.schema.reports import (
    Decision,
    FileReport,
    NodeReport,
    Report,
)
from onnxshallow.validation.classes import Changed, ClassCount
from onnxshallow.validation.compare import Accuracy, Fidelity
from onnxshallow.validation.growth import BOUND, Growth, Range, Stability
from onnxshallow.validation.outputs import OutputDifference
from onnxshallow.validation.synthetic import SortFidelity
from tests.report.pages import REPORT, TRAINING
from tests.runs import speed_of

VOID = {"meta", "link", "br", "input", "img", "hr", "wbr"}
EVIL = '<script>alert("x")</script>'


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced; keeps tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def digits_report(digits):
    return Report.model_validate(digits.report)


@pytest.fixture(scope="module")
def page(digits_report):
    return html_report(digits_report)


def test_the_page_is_well_formed_and_says_the_verdict_first(page, digits_report):
    parsed = Page(page)
    text = " ".join(parsed.text.split())
    assert text.index("Ship it? Yes. Goal met: ") < text.index("Before and after") < text.index("The network")
    lost = f"{100 * digits_report.verdict.accuracy_lost:.2f} points of accuracy were lost"
    assert lost in text
    assert [tag for tag, _ in parsed.tags].count("h1") == 1


def test_the_page_needs_nothing_from_elsewhere(page):
    parsed = Page(page)
    links = [v for _, attributes in parsed.tags for name, v in attributes.items() if name in ("href", "src")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.findall(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_links_lead_to_sections(page):
    parsed = Page(page)
    targets = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    links = {attributes["href"][1:] for tag, attributes in parsed.tags if tag == "a"}
    assert links
    assert links <= targets


def test_every_site_is_in_the_drawing_and_in_the_table(page, digits_report):
    drawing, table = page.replace("<wbr>", "").split('<h2 id="sites">')
    for decision in digits_report.decisions:
        assert decision.name in drawing
        assert decision.name in table


def test_what_was_fused_is_one_row_that_opens(page, digits_report):
    fusions = [change for change in digits_report.changes if change.kernel is not None]
    assert fusions
    assert page.count("nodes became one</summary>") == len(fusions)


def test_classes_and_changed_samples_are_listed(page, digits_report):
    text = " ".join(Page(page).text.split())
    assert f"{digits_report.changed_total} in all" in text
    assert len(digits_report.classes) == 10
    assert "Right before, %" in text


def test_outputs_are_shown_by_what_they_are_read_as(digits_report):
    """With the output that tells the class, where there are several."""
    several = [
        OutputDifference("head <1>", (6,), kind="classes", agreement=0.625, reason="its name says so"),
        OutputDifference("mask", (3, 4, 4), kind="mask", agreement=0.875),
    ]
    change = Changed(0, None, None, 1, 2, 0.5, 0.75, output="head <1>")
    fidelity = replace(digits_report.fidelity, outputs=tuple(several))
    report = digits_report.model_copy(update={"fidelity": fidelity, "changed": (change,), "changed_total": 1})
    text = " ".join(Page(html_report(report)).text.split())
    assert "Read as" in text
    assert "head <1>classes6 62.50" in text
    assert "0head <1>–10.5" in text


def test_a_run_without_a_model_has_a_page_too():
    text = " ".join(Page(html_report(REPORT)).text.split())
    assert "Ship it? No. Not met: The target cannot be reached." in text
    assert text.count("The target cannot be reached.") == 1
    assert "no model was written" in text
    assert "Before and after" not in text


def partly(**values):
    decision = Decision(name="r", kind="relu", size=4, action="mask", reason="", **values)
    node = NodeReport(name="r", op="Relu", output="r", inputs=[], relus=4)
    return html_report(REPORT.model_copy(update={"decisions": [decision], "original_nodes": [node]}))


def test_the_key_explains_sites_that_stay_in_part_where_there_are_some():
    page = partly(kept=2, kept_unit="channels")
    assert "ReLU that stays in part" in Page(page).text
    assert page.count('<g class="partial">') == 2
    assert '<td class="wide partial">mask</td>' in page
    page = partly()
    assert "ReLU that stays in part" not in Page(page).text
    assert '<td class="wide removed">mask</td>' in page


def with_classes(**config):
    fidelity = Fidelity(samples=4, agreement=0.5, kl=0.1, relative_error={})
    decisions = [
        Decision(name=f"r{damage}", kind="relu", size=4, action="keep", reason="", least_damage=damage)
        for damage in (0.001, 0.02, 0.5)
    ]
    return html_report(REPORT.model_copy(update={"fidelity": fidelity, "decisions": decisions, "config": config}))


def test_damage_stands_beside_what_it_is_called_and_the_scale_is_explained_once():
    page = with_classes()
    for damage, name in (("0.001", "tiny"), ("0.02", "small"), ("0.5", "large")):
        assert f'{damage} <span class="level">{name}</span></td>' in page
    assert page.count("Damage says how far the class scores move.") == 1


def test_damage_that_is_measured_in_another_way_has_no_scale():
    page = with_classes(sensitivity="mse")
    assert 'class="level"' not in page
    assert "Damage says how far" not in page


def test_on_a_narrow_screen_the_fate_stands_beside_the_name(page, digits_report):
    for decision in digits_report.decisions:
        assert re.search(
            rf'{decision.name} <span class="narrow \w+">{decision.action}</span></th>', page.replace("<wbr>", "")
        )


def sorts(*errors):
    found = tuple(SortFidelity(f"sort {n}", 64, 0.9, {"y": error}) for n, error in enumerate(errors))
    fidelity = Fidelity(samples=64, source="made up", agreement=0.9, kl=0.1, relative_error={"y": 0.2}, sorts=found)
    return Page(html_report(REPORT.model_copy(update={"fidelity": fidelity}))).text


def test_synthetic_samples_are_listed_by_sort():
    text = " ".join(sorts(0.125, None).split())
    assert "sort 06490.00.125" in text
    assert "sort 16490.0–" in text
    assert "nothing is known of real ones" in text
    assert "By sort of synthetic samples" not in sorts()


def test_growth_is_told_by_samples_and_by_sites_beside_the_bound_where_something_is_squared():
    growth = (Growth("calibration samples", 64, 1.25, "relu1"), Growth("provoked", 8, 2 * BOUND, "relu2"))
    stability = Stability(growth, (Range("relu1", 2.0, 2.5, 3), Range("relu2", 4.0, 32.0, None)))
    page = html_report(REPORT.model_copy(update={"stability": stability}))
    text = " ".join(Page(page).text.split())
    assert f"beyond {BOUND:g} on any of them the network is refused" in text
    assert f"The most is {2 * BOUND:g} on provoked, at relu2." in text
    assert "calibration samples641.25relu1" in text
    assert page.count(f'"r refused">{2 * BOUND:g}</td>') == page.count('"r refused">') == 1
    assert "relu122.53" in text
    assert "relu2432–" in text
    assert "Growth of activations" not in html_report(REPORT)


def test_what_was_learned_is_drawn_and_listed_where_weights_were_trained():
    page = html_report(REPORT.model_copy(update={"training": TRAINING}))
    text = " ".join(Page(page).text.split())
    assert "The weights of step 20 are kept, which were the best on 100 samples held out." in text
    assert "200.250.6250.37590.001.5" in text
    assert page.count('class="r wide refused" data-value="4.0"') == page.count("wide refused") == 1
    assert page.count("<polyline") == 2
    nothing = TRAINING.model_copy(update={"kept": 0, "lacks": ["Hardmax"], "interrupted": True})
    text = " ".join(Page(html_report(REPORT.model_copy(update={"training": nothing}))).text.split())
    assert "Nothing better than the start was found" in text
    assert "Training was interrupted. Weights before Hardmax stayed as they were." in text
    assert "samples held out" not in html_report(REPORT)


def hostile():
    accuracy = Accuracy(top1=0.5, top5=None, top1_interval=(0.5, 0.5), samples=4)
    cost = replace(REPORT.original, accuracy=accuracy)
    output = OutputDifference(name=EVIL, shape=(None, 3), relative_error=None, worst_sample=None)
    return REPORT.model_copy(
        update={
            "model": FileReport(path=EVIL, sha256=None),
            "output": FileReport(path=f"\x1b[31m{EVIL}", sha256=None),
            "original": cost,
            "optimized": cost,
            "decisions": [Decision(name=EVIL, kind="relu", size=None, action="keep", reason=EVIL)],
            "original_nodes": [NodeReport(name=EVIL, op=EVIL, output=EVIL, inputs=[], shape=[None])],
            "fidelity": Fidelity(
                samples=4, source=EVIL, agreement=None, kl=None, relative_error={EVIL: None}, outputs=(output,)
            ),
            "classes": (ClassCount(label=0, samples=4, agree=4),),
            "changed": [
                Changed(
                    index=1, name=EVIL, label=None, original=None, optimized=None, original_score=None,
                    optimized_score=None,
                )
            ],
            "changed_total": 1,
            "stability": Stability((Growth(EVIL, 4, 1.0, EVIL),), (Range(EVIL, 1.0, 1.0, 2),)),
            "training": TRAINING.model_copy(update={"lacks": [EVIL], "augment": EVIL}),
            "config": {"calib": EVIL},
            "versions": {EVIL: EVIL},
        }
    )  # fmt: skip


def test_names_from_files_do_not_act():
    page = html_report(hostile())
    parsed = Page(page)
    assert EVIL not in page
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert "\x1b" not in page
    assert EVIL in parsed.text


def test_the_same_report_makes_the_same_page(digits_report, page):
    assert html_report(digits_report) == page


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0"), (9_999_999, "9 999 999"), (36_618_880, "36.6 M"), (2_834_161_664, "2.83 G")]
)
def test_large_figures_are_shortened_in_tiles(count, said):
    cost = replace(REPORT.original, macs=count)
    page = html_report(REPORT.model_copy(update={"original": cost, "optimized": cost}))
    assert f">{said}</dd>" in page.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_speed_is_as_large_as_the_other_figures(digits_report):
    slower = digits_report.model_copy(update={"speed": speed_of(0.92, 1.0, off=0.01)})
    shown = re.sub(r"<[^>]+>", " ", html_report(slower))
    assert re.search(r"speed in onnxruntime\s+0\.92\s*×\s+as fast as before, 95 % interval 0\.911 to 0\.929", shown)


def test_where_there_is_no_optimized_model_nothing_is_said_of_it():
    nodes = [NodeReport(name="conv", op="Conv", output="h", inputs=[], macs=100)]
    page = html_report(REPORT.model_copy(update={"original_nodes": nodes}))
    assert "MACs before" not in page
    assert "lower bar" not in page
