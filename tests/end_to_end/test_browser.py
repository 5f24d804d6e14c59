"""The pages that the workflow writes, in a real browser."""

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.slow

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic",
)  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("test/BenchmarkTopTagging/*/report.html", ("ROC curves", "Cutflow", "Provenance")),
        ("published/test/*/readiness.html", ("duplicate", "split")),
    ],
)
def test_a_page_shows_its_text_and_every_picture_and_loads_nothing_else(
    finished, tmp_path, pattern, texts
):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    (page,) = finished.store.glob(pattern)
    probe = tmp_path / "probe.html"
    # A picture that did not load has no width; whatever is fetched is in the list of resources.
    probe.write_text(
        f"""<iframe id=f src="file://{page}" width=1000 height=3000></iframe><script>
f.onload = () => {{ const d = f.contentDocument, bad = [...d.images].filter(i => !i.naturalWidth);
document.title = JSON.stringify({{ pictures: d.images.length, broken: bad.length,
  fetched: f.contentWindow.performance.getEntriesByType("resource")
    .filter(r => !r.name.startsWith("data:")).length }}); }};
</script>"""
    )
    dom = subprocess.run(
        [chromium, *_QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--disable-web-security",
         "--allow-file-access-from-files", "--virtual-time-budget=10000", "--dump-dom",
         f"file://{probe}"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    content = page.read_text()
    pictures = content.count("<img")
    title = f'{{"pictures":{pictures},"broken":0,"fetched":0}}'
    assert title in dom.replace("&quot;", '"')
    for text in texts:
        assert text.lower() in content.lower()
