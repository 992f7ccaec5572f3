"""Where recordings come from: a folder, the hub, or its cache; and what is said where one cannot be had."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from recordings import LENGTHS

from hybrid_ik.errors import DatasetError, MissingPackageError
from hybrid_ik.pixels.recordings.dataset import open_dataset


def test_a_folder_that_is_no_dataset_is_refused(root, tmp_path):
    (root / "meta/info.json").write_text("{ no json")
    with pytest.raises(DatasetError, match=r"info.json cannot be read"):
        open_dataset(root)
    with pytest.raises(DatasetError, match=r"no meta/info.json in it"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="there is no such folder"):
        open_dataset(tmp_path / "absent")


def fake_hub(monkeypatch, root, reachable=True, cached=True):
    class RepositoryNotFoundError(Exception):
        pass

    def dataset_info(self, name, revision=None, timeout=None):
        if name == "nobody/nothing":
            raise RepositoryNotFoundError("404\nmore")
        if not reachable:
            raise ConnectionError("no route to host")

    def snapshot_download(name, *, repo_type, revision, allow_patterns, local_files_only=False):
        assert (name, repo_type, revision) == ("somebody/reach", "dataset", "v3.0")
        if local_files_only and not cached:
            raise FileNotFoundError("nothing in the cache")
        return str(root)

    api = type("HfApi", (), {"dataset_info": dataset_info})
    module = SimpleNamespace(HfApi=api, snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_a_name_of_the_hub_is_downloaded_or_taken_from_the_cache(pristine, monkeypatch):
    for reachable in (True, False):
        fake_hub(monkeypatch, pristine, reachable)
        assert open_dataset("somebody/reach@v3.0").root == pristine


def test_a_hub_that_cannot_be_used_is_said_with_both_remedies(pristine, monkeypatch):
    fake_hub(monkeypatch, pristine, reachable=False, cached=False)
    with pytest.raises(DatasetError, match=r"reach@v3.0: .*no route to host.* Connect .* or copy .* give its folder"):
        open_dataset("somebody/reach@v3.0")
    with pytest.raises(DatasetError, match="the hub has no such dataset"):
        open_dataset("nobody/nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"paszea/ik: .*pip install huggingface_hub, or download .* folder"):
        open_dataset("paszea/ik")


def test_a_local_folder_comes_before_the_hub(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(root.parent.parent)
    assert len(open_dataset(f"{root.parent.name}/{root.name}").episodes) == len(LENGTHS)


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_a_missing_package_is_said_with_what_brings_it(pristine, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install hybrid-ik\[vision\]"):
        list(open_dataset(pristine).episodes[0].frames("front"))
