"""The report's page in a browser; skipped where there is none."""

import pytest

from onnxshallow.report.page.html import html_report
from onnxshallow.report.schema.reports import Report
from tools.check_page import check_page, find_chromium, main

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here")

BAD = """<html><body><img src="https://example.org/a.png"><script>console.error("trouble")</script></body></html>"""


def test_the_report_opens_without_messages_and_requests(digits, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(html_report(Report.model_validate(digits.report)), encoding="utf-8")
    picture = tmp_path / "page.png"
    assert check_page(page, screenshot=picture).clean
    assert picture.stat().st_size > 10_000


def test_messages_and_requests_are_found(tmp_path, capsys):
    page = tmp_path / "bad.html"
    page.write_text(BAD, encoding="utf-8")
    found = check_page(page)
    assert any("trouble" in message for message in found.console)
    assert found.requests == ("https://example.org/a.png",)
    assert main([str(page)]) == 1
    assert "example.org" in capsys.readouterr().out
