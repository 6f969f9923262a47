"""Run the tour and save it with its outputs, without what differs by run: `python scripts/renew_tour.py`.

Needs nbclient, nbformat and ipykernel, which the extra `test` brings.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

import nbclient
import nbformat

TOUR = Path(__file__).with_name("tour.ipynb")


def source_digest(notebook: nbformat.NotebookNode) -> str:
    """Return a name for what the cells say."""
    sources = json.dumps([[cell.cell_type, cell.source] for cell in notebook.cells])
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a run in an empty directory; progress and times are left out."""
    defaults = {name: value for name, value in os.environ.items() if not name.startswith("JAXSTUDIES_TOUR_")}
    with tempfile.TemporaryDirectory() as directory:
        resources = {"metadata": {"path": directory}}
        client = nbclient.NotebookClient(
            copy.deepcopy(notebook), kernel_name="python3", timeout=600, resources=resources, record_timing=False
        )
        ran = client.execute(env=defaults)
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs = quiet(cell.outputs)
    ran.metadata["source_digest"] = source_digest(ran)
    ran.metadata.pop("language_info", None)
    return ran


def quiet(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs without what goes to stderr, and addresses; what was printed before and after it is one output."""
    kept = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if "text/plain" in output.get("data", {}):
            output.data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", output.data["text/plain"])
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main() -> None:
    """Renew the notebook."""
    nbformat.write(execute(nbformat.read(TOUR, as_version=4)), TOUR)
    print(TOUR)


if __name__ == "__main__":
    main()
