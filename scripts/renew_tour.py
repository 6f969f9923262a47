"""Run scripts/tour.ipynb from top to bottom and save it with its outputs, without what differs from run to run.

Needs nbclient, nbformat and ipykernel, which the extra `test` brings.
"""

import hashlib
import json
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
    with tempfile.TemporaryDirectory() as directory:
        resources = {"metadata": {"path": directory}}
        client = nbclient.NotebookClient(notebook.copy(), timeout=600, resources=resources, record_timing=False)
        ran = client.execute()
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    ran.metadata["source_digest"] = source_digest(ran)
    ran.metadata.pop("language_info", None)
    return ran


def main() -> None:
    """Renew the notebook."""
    nbformat.write(execute(nbformat.read(TOUR, as_version=4)), TOUR)
    print(TOUR)


if __name__ == "__main__":
    main()
