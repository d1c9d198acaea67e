"""Open a report in headless Chromium: no console message, no network request, no serious accessibility fault.

Needs Chromium, and for accessibility the file axe.min.js of the npm package axe-core (`npm install axe-core`).

    python -m tools.check_page model.shallow.html --axe node_modules/axe-core/axe.min.js --screenshot page.png
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Findings", "check_page", "find_chromium", "main"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
    "--enable-logging=stderr", "--virtual-time-budget=10000",
)  # fmt: skip
_PATIENCE = 1200  # seconds
_SERIOUS = ("serious", "critical")
_MARK = "axe-result"
_RUN_AXE = f"""
axe.run(document).then((result) => {{
  const found = document.createElement("script");
  found.type = "application/json";
  found.id = "{_MARK}";
  found.textContent = JSON.stringify(result.violations.map((v) => ({{
    id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map((n) => n.html.slice(0, 200)),
  }}))).replaceAll("<", "\\\\u003c");
  document.body.append(found);
}});
"""


@dataclass(frozen=True)
class Findings:
    """What is wrong with a page.

    Attributes:
        console: messages on the browser's console.
        requests: addresses that were asked for, the page itself left out.
        faults: serious accessibility faults; None where axe was not run.
    """

    console: tuple[str, ...]
    requests: tuple[str, ...]
    faults: tuple[str, ...] | None

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.console or self.requests or self.faults)


def find_chromium() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def check_page(
    page: Path,
    *,
    axe: Path | None = None,
    screenshot: Path | None = None,
    size: tuple[int, int] = (1200, 1600),
    dark: bool = False,
) -> Findings:
    """Open a page and look at what happens.

    Args:
        page: an HTML file.
        axe: axe-core's script; None to leave accessibility out.
        screenshot: where a picture of the page goes.
        size: of the window, in pixels.
        dark: ask for the dark colours.

    Raises:
        RuntimeError: there is no Chromium, or it does not open the page.
    """
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("There is no Chromium on the path; install the package chromium.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = folder / "page.html"
        text = page.read_text(encoding="utf-8")
        if axe is not None:
            script = axe.read_text(encoding="utf-8")
            text = text.replace("</body>", f"<script>{script}</script><script>{_RUN_AXE}</script></body>")
        shown.write_text(text, encoding="utf-8")
        log = folder / "net.json"
        command = [chromium, *_FLAGS, f"--user-data-dir={folder / 'user'}", f"--log-net-log={log}"]
        command += [f"--window-size={size[0]},{size[1]}"]
        if dark:
            command.append("--blink-settings=preferredColorScheme=0")
        done = subprocess.run(
            [*command, "--dump-dom", shown.as_uri()], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        if done.returncode or "</html>" not in done.stdout:
            raise RuntimeError(f"Chromium does not open {page}: {done.stderr[-500:]}")
        console = tuple(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
        requests = tuple(sorted(set(_addresses(log))))
        if screenshot is not None:
            subprocess.run(
                [*command, f"--screenshot={screenshot.resolve()}", page.resolve().as_uri()],
                capture_output=True, timeout=_PATIENCE, check=True,
            )  # fmt: skip
        return Findings(console, requests, None if axe is None else _faults(done.stdout))


def _addresses(log: Path) -> list[str]:
    """What the page asked for, from Chromium's network log, which may lack its end.

    Pages opened from a file have the origin `null`; what Chromium asks for on its own account has none.
    """
    events = [line for line in log.read_text(encoding="utf-8").splitlines() if '"initiator":"null"' in line]
    return [match[1] for line in events if (match := re.search(r'"url":"([^"]+)"', line))]


def _faults(dom: str) -> tuple[str, ...]:
    match = re.search(rf'<script type="application/json" id="{_MARK}">(.*?)</script>', dom, re.DOTALL)
    if match is None:
        raise RuntimeError("axe-core gave no result; is the file axe.min.js of the package axe-core?")
    found = [v for v in json.loads(match[1]) if v["impact"] in _SERIOUS]
    return tuple(f"{v['impact']}: {v['help']} ({v['id']}): {'; '.join(v['nodes'][:3])}" for v in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check pages; 1 where one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("--screenshot", type=Path, help="where a picture of the (last) page goes")
    parser.add_argument("--size", default="1200x1600", help="of the window [1200x1600]")
    parser.add_argument("--dark", action="store_true", help="ask for dark colours")
    given = parser.parse_args(arguments)
    width, height = (int(part) for part in given.size.split("x"))
    clean = True
    for page in given.pages:
        try:
            found = check_page(
                page, axe=given.axe, screenshot=given.screenshot, size=(width, height), dark=given.dark
            )
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        clean = clean and found.clean
        axe = "not looked at" if found.faults is None else len(found.faults)
        print(f"{page}: {len(found.console)} console messages, {len(found.requests)} requests, faults: {axe}")
        for line in (*found.console, *found.requests, *(found.faults or ())):
            print(f"  {line}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
