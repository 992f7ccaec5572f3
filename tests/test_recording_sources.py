"""Where recordings come from: a folder, the hub, or its cache; and what is said where one cannot be had."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from recordings import LENGTHS

from hybrid_ik.apps import cli
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


class FakeHub(SimpleNamespace):
    """Stands in for huggingface_hub; `asked` is what it was asked for."""

    def __init__(self, monkeypatch, root, reachable=True, cached=True):
        super().__init__(root=root, reachable=reachable, cached=cached, asked=[])
        self.HfApi = lambda: self
        monkeypatch.setitem(sys.modules, "huggingface_hub", self)

    def dataset_info(self, name, revision=None, timeout=None):
        class RepositoryNotFoundError(Exception):
            pass

        class GatedRepoError(RepositoryNotFoundError):
            pass

        self.asked.append("info")
        refused = {"nobody/nothing": RepositoryNotFoundError, "nobody/private": GatedRepoError}
        if name in refused:
            raise refused[name]("404\nmore")
        if not self.reachable:
            raise ConnectionError("no route to host")

    def snapshot_download(self, name, *, repo_type, revision, allow_patterns, local_files_only=False):
        assert (name, repo_type, revision) == ("somebody/reach", "dataset", "v3.0")
        assert allow_patterns == ["meta/**", "data/**", "videos/**"]
        self.asked.append("cache" if local_files_only else "download")
        if local_files_only and not self.cached:
            raise FileNotFoundError("nothing in the cache")
        return str(self.root)


def test_a_name_of_the_hub_is_downloaded_once_and_what_is_fetched_is_said(pristine, monkeypatch, caplog):
    hub = FakeHub(monkeypatch, pristine)
    caplog.set_level("INFO")
    assert open_dataset("somebody/reach@v3.0").root == pristine
    assert hub.asked == ["info", "download"]
    assert "somebody/reach@v3.0: fetching its meta, data, videos from the hub" in caplog.text


def test_the_copy_in_the_cache_is_used_without_the_network(pristine, monkeypatch, caplog):
    hub = FakeHub(monkeypatch, pristine, reachable=False)
    caplog.set_level("INFO")
    assert open_dataset("somebody/reach@v3.0").root == pristine
    assert hub.asked == ["info", "cache"]
    assert f"(no route to host); the copy in {pristine} is used" in caplog.text


@pytest.mark.parametrize("cached", [True, False])
def test_a_hub_that_cannot_be_reached_is_said_with_both_remedies(tmp_path, monkeypatch, cached):
    FakeHub(monkeypatch, tmp_path, reachable=False, cached=cached)  # a copy without meta/info.json is none
    words = r"reach@v3.0: there is no such local folder, .*no route to host.*cache has no copy. Connect to the network"
    with pytest.raises(DatasetError, match=rf"{words}.* hf download somebody/reach .* --revision v3.0"):
        open_dataset("somebody/reach@v3.0")


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/private"])
def test_a_dataset_that_the_hub_does_not_have_is_not_looked_for_in_the_cache(tmp_path, monkeypatch, name):
    hub = FakeHub(monkeypatch, tmp_path)
    with pytest.raises(DatasetError, match=r"the hub has no such dataset, .*\(404\). Check the name"):
        open_dataset(name)
    assert hub.asked == ["info"]


def test_a_download_that_breaks_off_is_said(tmp_path, monkeypatch):
    hub = FakeHub(monkeypatch, tmp_path)
    hub.snapshot_download = lambda *_, **__: 1 / 0
    with pytest.raises(DatasetError, match=r"reach: the download broke off \(division by zero\). Open it again"):
        open_dataset("somebody/reach")


def test_without_huggingface_hub_the_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"paszea/ik: .*pip install huggingface_hub .* give a local folder"):
        open_dataset("paszea/ik")
    assert cli.main(["pixels", "find-dots", "--data", "paszea/ik"]) == cli.MISUSE
    said = capsys.readouterr().err
    assert said.startswith("hybrid-ik pixels: paszea/ik: there is no such local folder") and said.count("\n") == 1


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
