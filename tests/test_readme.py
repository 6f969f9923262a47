"""What the README shows runs, and what it names is there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_example_is_the_file_it_is_said_to_be_and_short():
    """That it runs is for `test_examples.py` to say."""
    assert BLOCKS[0] == (ROOT / "scripts" / "examples" / "xor.py").read_text("utf-8")
    assert len(BLOCKS[0].splitlines()) <= 50


def test_what_is_for_notebooks_runs(tmp_path):
    for code in BLOCKS[1:]:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_paths_named_in_the_readme_exist():
    named = re.findall(r"\]\((figures/[^)]+)\)", TEXT) + re.findall(r"(?:scripts|jaxstudies)/[\w/]+\.py", TEXT)
    for path in named:
        assert "NAME" in path or (ROOT / path).exists(), path
