from onnxshallow.report.page.sheet import Cell, Column, PagePart, Sheet, number_cell, sheet_page


def page(**changes):
    part = PagePart(
        "A table", "What it is.", None, [Column("Name"), Column("Size", number=True)], changes.pop("rows", ())
    )
    return sheet_page(Sheet("A title", "The lead.", [part], **changes))


def test_text_from_files_does_not_act():
    made = page(rows=[(Cell("<script>alert(1)</script>\x1b"), Cell("b"))], notes=["<b>"])
    assert "<script>alert" not in made
    assert "&lt;script&gt;alert(1)&lt;" in made.replace("<wbr>", "")
    assert "\\x1b" in made
    assert "<b>" not in made


def test_numbers_are_sorted_by_their_values():
    assert 'data-value="1200"' in page(rows=[(Cell("a"), number_cell(1200, "1 200"))] * 2)
    assert number_cell(None).text == "\N{EN DASH}"
    assert number_cell(0.123456).text == "0.123"


def test_bars_are_no_longer_than_the_cell():
    assert number_cell(3.0, most=2.0).bar == 1.0
    assert number_cell(1.0, most=2.0).bar == 0.5
    assert number_cell(1.0, most=0.0).bar is None


def test_the_lead_has_its_style_and_one_row_is_not_sorted():
    made = page(rows=[(Cell("a"), Cell("b"))], style="refused", version="1.2.3")
    assert '<p class="verdict refused">The lead.</p>' in made
    assert "data-sort" not in made.split("<script>")[0]
    assert "onnxshallow 1.2.3" in made
