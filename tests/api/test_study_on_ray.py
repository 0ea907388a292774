"""`lpstudy.Study.run(in_process=False)` runs the same study with Ray."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
from commands import environment

TABLE = {
    "name": "api",
    "data": {"kind": "digits", "validation_fraction": 0.25},
    "teacher": {"family": "convnet", "depth": 2, "width": 4, "epochs": 1, "batch_size": 50},
    "students": [{"family": "convnet", "depth": 2, "width": 2}],
    "methods": {"bp": {}, "kd": {"weight": 1.0}},
    "training": {"batch_size": 50, "learning_rate": 0.01, "precision": "fp32"},
    "budget": {"trials": 1, "epochs": 2, "seeds": 2},
    "finals": {"candidates": 1},
}
PROGRAM = """
import json, sys, lpstudy
in_process = sys.argv[2] == "process"
study = lpstudy.Study(json.loads(sys.argv[1])).run(in_process=in_process)
assert ("ray" in sys.modules) is not in_process
study.comparison().to_json("comparison.json")
print(study.status().summary())
"""


def comparison(folder: Path, where: str) -> pd.DataFrame:
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, json.dumps(TABLE), where]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "finished; 6 of 6 runs"
    return pd.read_json(folder / "comparison.json").drop(columns=["mlflow_run_id"])


def test_ray_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    alone, with_ray = comparison(tmp_path / "alone", "process"), comparison(tmp_path / "ray", "ray")
    pd.testing.assert_frame_equal(alone, with_ray)
