"""Spare files are named after their writer, and swept once it is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pareto_rec.core.leftovers import spare_path, sweep, sweep_below, temporary_folder
from pareto_rec.core.paths import swapped, written_whole

WRITE = """
import os, sys
from pathlib import Path
from pareto_rec.core.leftovers import spare_path
from pareto_rec.core.paths import written_whole
spare_path(Path(sys.argv[1]) / "folder").mkdir(parents=True)
with written_whole(Path(sys.argv[1]) / "features.npy") as spare:
    spare.write_bytes(bytes(1000))
    os._exit(9)  # as a kill: nothing is tidied up
"""


def test_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    below = tmp_path / "features"
    subprocess.run([sys.executable, "-c", WRITE, str(below)], check=False)
    assert len(list(below.iterdir())) == 2
    (below / "kept.npy").touch()
    (below / ".hidden").touch()
    assert sweep_below(tmp_path) == 2
    assert sorted(path.name for path in below.iterdir()) == [".hidden", "kept.npy"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a") as one, swapped(tmp_path / "a") as other:
        assert one != other
        for spare in (one, other):
            spare.write_text("half")
        assert sweep([tmp_path]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_machine_or_an_older_version_left_goes_after_a_day(tmp_path: Path) -> None:
    foreign = spare_path(tmp_path / "a").name.split(".")
    foreign[-2] = f"00000000-{2**22 + 1}-00000000"
    names = [".".join(foreign), ".a.4194305-0011aabb", ".front.csv.part"]
    for name in names:
        (tmp_path / name).touch()
    assert sweep([tmp_path]) == 0
    for name in names:
        os.utime(tmp_path / name, (1e9, 1e9))
    assert sweep([tmp_path]) == 3


def test_temporary_folders_of_dead_processes_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os\nfrom pareto_rec.core.leftovers import temporary_folder\n"
        "with temporary_folder() as folder:\n    (folder / 'x').touch()\n    os._exit(9)\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=False)
    [left] = tmp_path.iterdir()
    with temporary_folder() as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert not list(tmp_path.iterdir())
