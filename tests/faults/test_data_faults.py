"""Bad data, bad encoders, no network, a full disk: one clear line, and nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pareto_rec import data
from pareto_rec.backbone import encoders
from pareto_rec.backbone.cached import DEFAULT, Backbone
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.fetch import HttpSource, Source
from pareto_rec.data import movielens

OFFICIAL = {
    "u.data": b"1\t1\t5\t874965758\n2\t2\t3\t881250949\n",
    "u.item": (
        b"1|Toy Story (1995)|01-Jan-1995||x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        b"2|GoldenEye (1995)|01-Jan-1995||x|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|1|0|0\n"
    ),
    "u.user": b"1|24|M|technician|85711\n2|53|F|other|94043\n",
}
HEADERS = [table.header or "" for table in movielens._RECBOLE.tables]
WHEEL = {
    "ml-100k.inter": f"{HEADERS[0]}\n1\t1\t5\t874965758\n".encode(),
    "ml-100k.item": f"{HEADERS[1]}\n1\tToy Story\t1995\tComedy\n".encode(),
    "ml-100k.user": f"{HEADERS[2]}\n1\t24\tM\ttechnician\t85711\n".encode(),
}


def refusal(path: Path) -> str:
    with pytest.raises(BadRequestError) as caught:
        movielens.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_files_are_good_as_they_stand(tmp_path: Path) -> None:
    for name, files in (("official", OFFICIAL), ("wheel", WHEEL)):
        (tmp_path / name).mkdir()
        assert len(movielens.read(write(tmp_path / name, files)).interactions) > 0


@pytest.mark.parametrize("name", [*OFFICIAL, *WHEEL])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    files = OFFICIAL if name in OFFICIAL else WHEEL
    write(tmp_path, {other: content for other, content in files.items() if other != name})
    assert f"{tmp_path / name} is missing" in refusal(tmp_path)


@pytest.mark.parametrize("name", [*OFFICIAL, *WHEEL])
def test_a_file_cut_off_within_a_line_is_named_with_the_line(name: str, tmp_path: Path) -> None:
    files = OFFICIAL if name in OFFICIAL else WHEEL
    write(tmp_path, {**files, name: files[name][:-4]})
    assert f"{tmp_path / name}, line 2: cut off" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("u.data", b"1\t1\t5\t1\n1\t2\t3\n", "line 2: wrong columns: 3 instead of 4"),
        ("u.data", b"1\t1\t5\t1\n\n1\t2\t3\t1\n", "line 2: wrong columns: 1 instead of 4"),
        ("u.data", b"1,1,5,1\n", "line 1: wrong columns: 1 instead of 4"),
        ("u.data", b"1\t1\t5\t1\n2\tx7\t3\t1\n", 'line 2: item id is not a whole number: "x7"'),
        ("u.data", b"1\t1\t5\t1\n2\t2\t\t1\n", 'line 2: rating is not a whole number: ""'),
        ("u.data", b"1\t1\t5\t1\n2\t2\t6\t1\n", "line 2: rating is 6, not within 1 and 5"),
        ("u.data", b"1\t1\t5\t-3\n", "line 1: timestamp is -3, not within"),
        ("u.data", b"1\t1\t5\t1\n2\t9\t3\t1\n", "line 2: item id 9 is not in u.item"),
        ("u.data", b"1\t1\t5\t1\n7\t1\t3\t1\n", "line 2: user id 7 is not in u.user"),
        ("u.data", b"\n", "has no rows"),
        ("u.data", b"", "has no rows"),
        ("u.data", b"1\t1\t5\t1\n\xff\n", "line 2: not utf-8 text"),
        ("u.item", OFFICIAL["u.item"].replace(b"|1|1|", b"|1|2|", 1), "line 1: genre flags"),
        ("u.item", OFFICIAL["u.item"].replace(b"\n2|", b"\n1|"), "line 2: item id 1 occurs a sec"),
        ("u.user", b"1|24|M|none|1\n2|old|F|other|1\n", "line 2: age is not a whole number"),
        ("u.user", b"1|24|M|none|1\n2|-1|F|other|1\n", "line 2: age is -1, not within 0 and 150"),
        ("ml-100k.inter", WHEEL["ml-100k.inter"][5:], "line 1: wrong columns; they should be"),
        ("ml-100k.item", WHEEL["ml-100k.item"].replace(b"Comedy", b"Fun"), "line 2: unknown genre"),
        ("ml-100k.user", b"", "line 1: wrong columns; they should be: user_id:token age:token"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    files = OFFICIAL if name in OFFICIAL else WHEEL
    message = refusal(write(tmp_path, {**files, name: content}))
    assert str(tmp_path / name) in message
    assert words in message


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("u.data", "u.item"):
            archive.writestr(f"ml-100k/{name}", OFFICIAL[name] * 50)
    assert f"{path} does not hold ml-100k/u.user" in refusal(tmp_path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", whole[:40] + b"\x00" * 30 + whole[70:]):
        path.write_bytes(broken)
        assert f"{path} is not a complete zip archive" in refusal(path)


# --- fetching ---------------------------------------------------------------------------------


def unreachable(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(
        replace(
            source,
            files={n: ("http://127.0.0.1:9/" + n, s) for n, s in source.checksums.items()},
        )
        if isinstance(source, HttpSource)
        else source
        for source in sources
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Official hosts that refuse connections, and a pip without any index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(
        data,
        "DATASETS",
        {n: replace(d, sources=unreachable(d.sources)) for n, d in data.DATASETS.items()},
    )
    monkeypatch.setattr(
        encoders, "BACKBONES", {n: unreachable(s) for n, s in encoders.BACKBONES.items()}
    )


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", sorted(data.DATASETS))
def test_no_network_and_no_data_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        data.load(name, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"cannot fetch {name}" in message
    assert f"put into {tmp_path / 'data' / name}" in message
    for source in data.DATASETS[name].sources:
        assert all(file in message for file in source.checksums)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.usefixtures("no_network")
def test_no_network_and_no_backbone_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        Backbone.load(DEFAULT, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"cannot fetch the backbone {DEFAULT}" in message
    assert "model.safetensors" in message
    assert str(tmp_path / "backbones") in message
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", sorted(data.DATASETS))
def test_an_altered_kept_file_is_refused(name: str, tmp_path: Path) -> None:
    for source in data.DATASETS[name].sources:
        folder = tmp_path / next(iter(source.checksums))
        (folder / "data" / name).mkdir(parents=True)
        for file in source.checksums:
            (folder / "data" / name / file).write_bytes(b"something else\n")
        with pytest.raises(BadRequestError, match=r"has another checksum .* delete the file"):
            data.load(name, folder)


def test_an_unknown_backbone_lists_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "reachable", lambda _: False)
    with pytest.raises(BadRequestError, match=rf"unknown backbone .*{DEFAULT}.*hub cannot be"):
        Backbone.load("nobody/no-such-encoder-at-all", tmp_path)
    for wrong in ("./no/folder", "/nowhere/at/all", "a b"):
        with pytest.raises(BadRequestError, match=r"no folder .*name on huggingface"):
            Backbone.load(wrong, tmp_path)


# --- encoders ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that look like an encoder until the weights are opened."""
    path = tmp_path / "encoder"
    path.mkdir()
    (path / "config.json").write_text(
        json.dumps({"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 8})
    )
    (path / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    (path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    return path


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt"])
def test_an_encoder_without_a_file_is_refused(file: str, folder: Path) -> None:
    (folder / file).unlink()
    with pytest.raises(BadRequestError, match=f"lacks .*{file}"):
        Backbone.load(folder, folder.parent)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2-of-2.safetensors"}})
    )
    with pytest.raises(BadRequestError, match=r"lacks model-2-of-2\.safetensors"):
        Backbone.load(folder, folder.parent)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{broken", "cannot read the backbone"),
        ("[1]", "is not a JSON object"),
        ('{"model_type": "bert"}', "no num_hidden_layers: it is not a BERT-like encoder"),
    ],
)
def test_a_strange_config_is_refused(config: str, words: str, folder: Path) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(BadRequestError, match=words) as caught:
        Backbone.load(folder, folder.parent).encode(["a"], max_length=8)
    assert str(folder) in str(caught.value)


def test_truncated_weights_are_refused_and_nothing_is_left(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(BadRequestError, match="cannot read the backbone in") as caught:
        Backbone.load(folder, folder.parent).encode(["a"], max_length=8)
    assert "\n" not in str(caught.value)
    assert list((folder.parent / "features").iterdir()) == []


# --- a full disk ------------------------------------------------------------------------------


def limited(code: str, *arguments: str) -> str:
    """Run code that may write files of at most 64 KiB; its standard output."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_while_fetching_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(
        tmp_path / "wheels" / "demo-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED
    ) as wheel:
        wheel.writestr("demo/a.txt", b"\x00" * 100_000)  # small in the wheel, large outside
        wheel.writestr(
            "demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
        )
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    code = (
        "import hashlib, pathlib, sys\n"
        "from pareto_rec.core.errors import BadRequestError\n"
        "from pareto_rec.core.fetch import WheelSource, obtain\n"
        "checksum = hashlib.sha256(bytes(100_000)).hexdigest()\n"
        "source = WheelSource('demo==1.0', {'a.txt': ('demo/a.txt', checksum)})\n"
        "try:\n"
        "    obtain('things', pathlib.Path(sys.argv[1]), (source,))\n"
        "except BadRequestError as error:\n"
        "    print(error)\n"
    )
    said = limited(code, str(tmp_path / "kept"))
    assert "cannot write" in said
    assert said.count("\n") == 1
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_full_disk_while_encoding_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, numpy as np\n"
        "from pareto_rec.core.errors import BadRequestError\n"
        "from pareto_rec.backbone.features import Recipe, keep\n"
        "recipe = Recipe('w', 't', 'x', 8, 2, 'float32', (1000, 64))\n"
        "batches = [(np.arange(1000), np.ones((1000, 64), dtype=np.float32))]\n"
        "try:\n"
        "    keep(pathlib.Path(sys.argv[1]), recipe, batches, {})\n"
        "except BadRequestError as error:\n"
        "    print(error)\n"
    )
    said = limited(code, str(tmp_path / "features"))
    assert "cannot write" in said
    assert said.count("\n") == 1
    assert list((tmp_path / "features").iterdir()) == []


@pytest.mark.usefixtures("no_network")
def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadRequestError, match=r"cannot write .*PARETO_REC_CACHE"):
        data.load("movielens-100k", tmp_path / "file")
