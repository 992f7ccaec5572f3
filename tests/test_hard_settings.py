"""The benchmark of the settings in which starts matter most."""

from __future__ import annotations

import json

import numpy as np
import test_benchmarks

# test_benchmarks puts the folder of the programs on the path
import hard_settings  # isort: skip


def test_folded_joints_touch_and_stretched_ones_do_not(panda):
    folded = panda.home.copy()
    folded[[3, 5]] = panda.lower[3], 0.0
    q = np.stack([panda.home, folded])
    assert hard_settings.touching(panda, q).tolist() == [False, True]


def test_the_program_measures_every_setting(tmp_path):
    text = test_benchmarks._run(
        "hard_settings.py", "--poses", "3", "--starts", "4", "8", "--json", str(tmp_path / "out.json")
    )
    result = json.loads((tmp_path / "out.json").read_text())
    assert list(result["settings"]) == list(hard_settings.SETTINGS) and "9 joints, no contact" in text
    for rows in result["settings"].values():
        assert {row["starts"] for row in rows} >= {"random", "lookup"}
        for row in rows:
            assert 0 <= row["usable"] <= 1 and row["distinct"] <= row["n"] and row["us_per_pose"] > 0
    free, all_of_them = (result["settings"][name] for name in ("panda, no contact", "panda"))
    assert sum(row["usable"] for row in free) <= sum(row["usable"] for row in all_of_them)
