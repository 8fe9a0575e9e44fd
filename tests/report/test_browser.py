"""The page in a real browser, cut off from every network; skipped where there is none."""

import math
import re
import shutil
import subprocess

import pytest
from report_samples import make_run

from netwright.report.page import write_report
from netwright.spaces.nasbench101 import NASBench101

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PROBE = """<!doctype html><iframe src="report.html" width="{width}" height="4000"></iframe>
<script>
const frame = document.querySelector("iframe");
setTimeout(async () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const marks = () => page.querySelectorAll("[data-chart=progress] .mark-symbol path").length;
  const facts = {{ charts: page.querySelectorAll("svg.marks").length, points: marks() }};
  facts.overflow = root.scrollWidth - root.clientWidth;
  facts.loaded = frame.contentWindow.performance.getEntriesByType("resource").length;
  page.querySelector("[data-origin=explorer]").click();
  await new Promise((done) => setTimeout(done, 500));
  facts.without = marks();
  document.body.innerHTML = `<p>FACTS ${{Object.entries(facts).flat().join(" ")}} END</p>`;
}}, 3000);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1600])
def test_charts_are_drawn_without_a_network(tmp_path, width):
    scores = [math.nan if i == 5 else 0.5 + i / 100 for i in range(40)]
    run = make_run(tmp_path / "run", NASBench101(), scores)
    write_report([run], NASBench101(), tmp_path / "report.html")
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1700,4100",
        "--virtual-time-budget=8000", "--dump-dom", (tmp_path / "probe.html").as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    words = re.search(r"FACTS (.*) END", dom)[1].split()
    facts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert facts == {
        "charts": 8,  # progress, operations and topology by origin, edges, entropy, epsilon
        "points": 40,  # 39 dots and one cross
        "overflow": 0,
        "loaded": 0,
        "without": 20,  # 19 dots and the cross
    }
