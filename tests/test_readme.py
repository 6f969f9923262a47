import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_example_is_short_and_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 30
    script = tmp_path / "study.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    share, low, high = map(float, re.findall(r"([\d.]+)%", done.stdout))
    assert 0 < low <= share <= high < 100


def test_paths_named_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\((figures/[^)]+)\)", text) + re.findall(r"scripts/\w+\.py", text):
        assert (ROOT / path).exists(), path
