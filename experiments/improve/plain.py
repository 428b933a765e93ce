"""Runs exported files on rows, in an environment with torch, safetensors and onnxruntime and without this project.

    PYTHON -I plain.py FOLDER    beside rows.npz, FOLDER holds NAME.py with NAME.safetensors, and NAME.onnx

Writes ``NAME.torch.npy`` and ``NAME.onnx.npy`` there, and prints versions as JSON. It imports nothing of ours, and ends with
an error where it could.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch


def main() -> None:
    """Runs all of them, one thread."""
    found = [name for name in ("evolve", "fitness", "population") if importlib.util.find_spec(name)]
    if found:
        sys.exit(f"this environment is not without the project: it has {', '.join(found)}")
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    (rows,) = np.load(folder / "rows.npz").values()
    for file in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with torch.no_grad():
            np.save(folder / f"{file.stem}.torch.npy", module.load()(torch.from_numpy(rows)).numpy())
    for file in sorted(folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(file)
        (answer,) = session.run(None, {session.get_inputs()[0].name: rows})
        np.save(folder / f"{file.stem}.onnx.npy", answer)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}
    print(json.dumps({"python": sys.version.split()[0], **versions}))


if __name__ == "__main__":
    main()
