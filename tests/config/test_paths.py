import pytest

from evqa.config import paths
from evqa.errors import ConfigError


def test_the_files_are_found_inside_an_installed_package_before_those_of_a_checkout(tmp_path, monkeypatch):
    for folder in ("package/conf", "conf"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.yaml").touch()
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "package")
    assert paths.conf_folder() == tmp_path / "package/conf"
    (tmp_path / "package/conf/train.yaml").unlink()
    assert paths.conf_folder() == tmp_path / "conf"


def test_their_absence_says_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "package")
    with pytest.raises(ConfigError, match=f"neither in {tmp_path}/package/conf nor in {tmp_path}/conf. Install evqa"):
        paths.conf_folder()


def test_experiments_and_sweeps_are_groups_like_any_other():
    groups = paths.group_folders(paths.conf_folder())
    assert {"model", "modal", "experiment", "sweep", "hydra/launcher"} <= set(groups)
    assert "audio_ablation" in paths.group_options(groups["sweep"])
