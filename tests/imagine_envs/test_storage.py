from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from imagine_envs import storage
from imagine_envs.storage import (
    StorageError,
    atomic_directory,
    atomic_file,
    load_json,
    load_tensors,
    recover_directory,
    save_json,
    save_tensors,
    sha256,
)

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "flags": torch.tensor([True, False]),
    "bytes": torch.tensor([[0, 255]], dtype=torch.uint8),
    "empty": torch.zeros(0, 4, dtype=torch.int64),
}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_storage_error_is_a_value_error() -> None:
    assert issubclass(StorageError, ValueError)


# --- tensors --------------------------------------------------------------------------------------------------------


def test_tensors_survive_with_type_shape_and_bits(tmp_path: Path) -> None:
    digest = save_tensors(tmp_path / "new folder" / "t.safetensors", TENSORS)
    assert digest == sha256(tmp_path / "new folder" / "t.safetensors")
    loaded = load_tensors(tmp_path / "new folder" / "t.safetensors", digest)
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name], tensor)


def test_views_and_parameters_are_saved_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    save_tensors(
        tmp_path / "t.safetensors", {"row": whole[1:2], "column": whole[:, 1], "p": torch.nn.Parameter(whole.T)}
    )
    loaded = load_tensors(tmp_path / "t.safetensors")
    assert torch.equal(loaded["row"], whole[1:2])
    assert torch.equal(loaded["column"], whole[:, 1])
    assert torch.equal(loaded["p"], whole.T)
    assert not loaded["p"].requires_grad


def test_a_missing_tensor_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nothing\.safetensors is missing"):
        load_tensors(tmp_path / "nothing.safetensors")
    with pytest.raises(StorageError, match="is missing"):
        load_tensors(tmp_path)  # a directory


# A flipped bit among the numbers is found by the digest alone.
@pytest.mark.parametrize(
    ("damage", "with_digest"),
    [(damage, True) for damage in ("truncated", "changed", "emptied", "garbage")]
    + [(damage, False) for damage in ("truncated", "emptied", "garbage")],
)
def test_a_damaged_tensor_file_is_named(tmp_path: Path, damage: str, with_digest: bool) -> None:
    path = tmp_path / "t.safetensors"
    digest = save_tensors(path, TENSORS)
    content = path.read_bytes()
    damaged = {
        "truncated": content[:-1],
        "changed": content[:-1] + bytes([content[-1] ^ 1]),
        "emptied": b"",
        "garbage": b"\xff" * len(content),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"t\.safetensors is "):
        load_tensors(path, digest if with_digest else None)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(StorageError, match="not a whole safetensors file"):
        load_tensors(path)


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_json_survives(tmp_path: Path) -> None:
    data = {"float": 0.1, "none": None, "list": [1, "ü", True], "dict": {"k": -1}}
    save_json(tmp_path / "c.json", data)
    assert load_json(tmp_path / "c.json") == data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_is_strict(tmp_path: Path, value: float) -> None:
    save_json(tmp_path / "c.json", {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        save_json(tmp_path / "c.json", {"bad": [value]})
    assert load_json(tmp_path / "c.json") == {"old": 1}
    assert names(tmp_path) == ["c.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1', "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "holds a JSON list"),
        (b"3", "holds a JSON int"),
    ],
)
def test_bad_json_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(StorageError, match=rf"c\.json {message}"):
        load_json(tmp_path / "c.json")


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"c\.json is missing"):
        load_json(tmp_path / "c.json")


# --- files, whole or not at all -------------------------------------------------------------------------------------


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"  # writers append one to names that lack it
        assert temporary.parent == tmp_path  # a rename does not cross file systems
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match="gone"), atomic_file(path) as temporary:
        (temporary.write_text("half"), (tmp_path / "gone").read_text())
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failing_writer_of_tensors_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.safetensors"
    digest = save_tensors(path, TENSORS)

    def fail(tensors: object, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(storage.safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_tensors(path, {})
    assert load_tensors(path, digest).keys() == TENSORS.keys()
    assert names(tmp_path) == ["t.safetensors"]


# --- directories, whole or not at all -------------------------------------------------------------------------------


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    with atomic_directory(path, overwrite=overwrite) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "f").write_text(text)


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "parents" / "d"
    with atomic_directory(path) as temporary:
        (temporary / "f").write_text("x")
        assert not path.exists()
    assert names(path) == ["f"]
    assert names(path.parent) == ["d"]


def test_a_directory_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    write(tmp_path / "d", "old")
    with pytest.raises(StorageError, match=r"d exists already; .*overwrite"):
        write(tmp_path / "d", "new")
    assert (tmp_path / "d" / "sub" / "f").read_text() == "old"
    write(tmp_path / "d", "new", overwrite=True)
    assert (tmp_path / "d" / "sub" / "f").read_text() == "new"
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_never_overwritten_by_a_directory(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "d").write_text("a file")
    with pytest.raises(StorageError, match="d is a file"):
        write(tmp_path / "d", "new", overwrite=overwrite)
    assert (tmp_path / "d").read_text() == "a file"
    assert names(tmp_path) == ["d"]


def test_an_exception_leaves_the_old_directory(tmp_path: Path) -> None:
    write(tmp_path / "d", "old")
    with (
        pytest.raises(FileNotFoundError, match="gone"),
        atomic_directory(tmp_path / "d", overwrite=True) as temporary,
    ):
        ((temporary / "f").write_text("half"), (tmp_path / "gone").read_text())
    assert (tmp_path / "d" / "sub" / "f").read_text() == "old"
    assert names(tmp_path) == ["d"]


class Killed(BaseException):
    """Stands for a kill: nothing after it runs, not even ``finally``."""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_between_the_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    path = tmp_path / "d"
    write(path, "old")
    replace, left = os.replace, renames

    def dying_replace(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        replace(source, target)

    def dead(*args: object, **kwargs: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", dying_replace)
    monkeypatch.setattr(shutil, "rmtree", dead)
    with pytest.raises(Killed):
        write(path, "new", overwrite=True)
    monkeypatch.undo()
    assert path.exists() == (renames != 1)
    recover_directory(path)
    assert (path / "sub" / "f").read_text() == ("new" if renames == 2 else "old")
    assert ".d.previous" not in names(tmp_path)
    write(path, "later", overwrite=True)  # and life goes on
    assert (path / "sub" / "f").read_text() == "later"


def test_recovery_does_nothing_where_nothing_happened(tmp_path: Path) -> None:
    recover_directory(tmp_path / "nowhere")
    write(tmp_path / "d", "old")
    recover_directory(tmp_path / "d")
    assert (tmp_path / "d" / "sub" / "f").read_text() == "old"
    assert names(tmp_path) == ["d"]


def test_a_lost_backup_is_brought_back_before_the_name_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "d", "old")
    os.replace(tmp_path / "d", tmp_path / ".d.previous")
    with pytest.raises(StorageError, match="exists already"):
        write(tmp_path / "d", "new")
    assert (tmp_path / "d" / "sub" / "f").read_text() == "old"


def test_paths_without_a_name_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "d", "old")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "d")
    recover_directory(".")
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(Path("../d/../d"), "new", overwrite=True)
    assert (tmp_path / "d" / "sub" / "f").read_text() == "new"
    assert names(tmp_path) == ["d", "elsewhere"]


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_saved_json_is_readable_by_people(tmp_path: Path) -> None:
    save_json(tmp_path / "c.json", {"a": {"b": 1}})
    text = (tmp_path / "c.json").read_text()
    assert text.endswith("}\n")
    assert text.count("\n") == 5
    assert json.loads(text) == {"a": {"b": 1}}
