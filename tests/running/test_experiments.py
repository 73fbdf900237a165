import json

import pytest

from pipeline.harness.errors import ParamsError, RunError
from pipeline.running.experiments import check_name, dvc, isolated, keep_model, save, snapshot
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")


def nobody(_: str) -> None:
    pytest.fail("nothing else runs")


def state_of(toy: Toy) -> tuple[str, str, str]:
    """Return all of a working tree that an experiment could touch."""
    return (
        toy.run("git", "status", "--porcelain=v2", "--branch"),
        toy.run("git", "diff", "HEAD"),
        toy.run("git", "stash", "list"),
    )


def test_an_experiment_has_the_edited_files_and_leaves_the_working_tree_alone(toy: Toy) -> None:
    toy.edit("seed: 42", "seed: 7")
    (toy.folder / "toy_stage.py").write_text("# edited\n")
    before = state_of(toy)
    params = (toy.folder / "params.yaml").read_text().replace("seed: 7", "seed: 8")
    commit = snapshot(toy.folder)
    with isolated(toy.folder, "one", commit=commit, params=params, waiting=nobody) as folder:
        assert (folder / "toy_stage.py").read_text() == "# edited\n"
        assert "seed: 8" in (folder / "params.yaml").read_text()
        assert state_of(toy) == before
    assert state_of(toy) == before
    assert toy.run("git", "worktree", "list").count("\n") == 1


def test_resume_points_and_progress_outlive_the_worktree(toy: Toy) -> None:
    params = (toy.folder / "params.yaml").read_text()
    with isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody) as folder:
        (folder / ".aso-se/resume/point").write_text("a point")
        (folder / ".aso-se/progress/search.tsv").write_text("epochs")
    assert (toy.folder / ".aso-se/resume/point").read_text() == "a point"
    assert (toy.folder / ".aso-se/progress/one/search.tsv").read_text() == "epochs"


def test_what_was_computed_anywhere_is_not_computed_again(toy: Toy) -> None:
    params = (toy.folder / "params.yaml").read_text()
    changed = params.replace("arch_update_freq: 5", "arch_update_freq: 3")
    commit = snapshot(toy.folder)
    for name, expected in (("one", ["search", "export"]), ("two", [])):
        with isolated(toy.folder, name, commit=commit, params=changed, waiting=nobody) as folder:
            dvc(folder, "repro")
            save(toy.folder, folder, name)
            model = keep_model(toy.folder, folder, name)
        assert toy.ran() == expected
        assert model.read_text() == "a model of 0.2"
    shown = json.loads(toy.dvc("exp", "show", "--json"))
    assert {experiment["name"] for experiment in shown[-1]["experiments"]} == {"one", "two"}
    assert toy.dvc("status", "--quiet") == ""


def test_images_that_git_does_not_have_are_there_too(toy: Toy) -> None:
    (toy.folder / "data/images/cat").mkdir(parents=True)
    (toy.folder / "data/images/cat/1.txt").write_text("a cat")
    (toy.folder / "data/downloads").mkdir()
    (toy.folder / ".gitignore").write_text("/.aso-se/\n/data/*\n!/data/README.md\n")
    (toy.folder / "data/README.md").write_text("images")
    toy.commit("images")
    text = (toy.folder / "params.yaml").read_text()
    for path in ("data", "data/images"):
        params = text.replace("path: data ", f"path: {path} ")
        with isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody) as folder:
            assert (folder / "data/images/cat/1.txt").read_text() == "a cat"
            assert (folder / "data/README.md").read_text() == "images"
    assert (toy.folder / "data/images/cat/1.txt").read_text() == "a cat"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_the_secrets_of_dvc_are_as_private_there_as_here(mode: int, toy: Toy) -> None:
    local = toy.folder / ".dvc" / "config.local"
    local.write_text("['remote \"s\"']\n    url = s3://bucket\n    secret_access_key = abc\n")
    local.chmod(mode)
    params = (toy.folder / "params.yaml").read_text()
    with isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody) as folder:
        written = folder / ".dvc" / "config.local"
        assert "secret_access_key = abc" in written.read_text()
        assert written.stat().st_mode & 0o777 == mode


def test_without_secrets_of_its_own_nobody_else_reads_the_settings(toy: Toy) -> None:
    params = (toy.folder / "params.yaml").read_text()
    with isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody) as folder:
        assert (folder / ".dvc" / "config.local").stat().st_mode & 0o077 == 0


def test_params_without_a_data_path_are_refused_by_name(toy: Toy) -> None:
    lines = (toy.folder / "params.yaml").read_text().splitlines(keepends=True)
    params = "".join(line for line in lines if not line.startswith("  path: "))
    with (
        pytest.raises(ParamsError, match=r"^params.yaml: data.path: missing; add 'path: data'$"),
        isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody),
    ):
        pytest.fail("there is no such experiment")


@pytest.mark.parametrize("path", ["photos.zip", "untracked.zip", "absolute"])
def test_images_in_one_file_are_there_wherever_it_is(path: str, toy: Toy) -> None:
    (toy.folder / "photos.zip").write_text("photos")
    toy.commit("photos")
    (toy.folder / "untracked.zip").write_text("photos")
    path = path.replace("absolute", str(toy.folder / "photos.zip"))
    params = (toy.folder / "params.yaml").read_text().replace("path: data ", f"path: {path} ")
    commit = snapshot(toy.folder)
    with isolated(toy.folder, "one", commit=commit, params=params, waiting=nobody) as folder:
        assert (folder / path).read_text() == "photos"
    assert (toy.folder / "photos.zip").read_text() == "photos"


def test_a_teacher_that_git_does_not_have_is_there_too(toy: Toy) -> None:
    (toy.folder / "models").mkdir()
    (toy.folder / "models/teacher.onnx").write_text("a teacher")
    text = (toy.folder / "params.yaml").read_text()
    params = text.replace("teacher:  ", "teacher: models/teacher.onnx  ")
    with isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody) as folder:
        assert (folder / "models/teacher.onnx").read_text() == "a teacher"


def test_two_experiments_can_exist_at_once_and_leftovers_of_killed_ones_go(toy: Toy) -> None:
    params = (toy.folder / "params.yaml").read_text()
    left = toy.folder / ".aso-se/worktrees/killed"
    left.parent.mkdir(parents=True)
    left.with_name("killed.lock").touch()
    toy.run("git", "worktree", "add", "--detach", str(left), "HEAD")
    one = isolated(toy.folder, "one", commit="HEAD", params=params, waiting=nobody)
    two = isolated(toy.folder, "two", commit="HEAD", params=params, waiting=nobody)
    with one as first, two as second:
        assert first.is_dir()
        assert second.is_dir()
        assert not left.exists()
    assert toy.run("git", "worktree", "list").count("\n") == 1


def test_a_name_that_dvc_would_not_take_is_refused() -> None:
    with pytest.raises(RunError, match=r"'a/b c': not a name for an experiment"):
        check_name("a/b c")


def test_a_command_that_fails_gives_its_own_reason(toy: Toy) -> None:
    with pytest.raises(RunError, match=r"^dvc repro nothing: .*nothing"):
        dvc(toy.folder, "repro", "nothing")
