"""The network learns the answers of a teacher, an exported file, image by image."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from pipeline.batches.batches import normalise
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.harness.errors import DataError, ParamsError
from pipeline.harness.params_file import parse_params
from pipeline.optimizing.distilling import TEMPERATURE, divergence, soft_targets
from pipeline.optimizing.loss import Loss
from pipeline.optimizing.mixing import partners
from pipeline.optimizing.params import OptimizeParams
from pipeline.params import Params
from pipeline.prepared.facts import read_facts
from pipeline.space.network import discretize
from pipeline.training.resume import resume_points
from stages.check import main as check
from tests.conftest import context, random_images, scramble, tiny, tiny_network, write_noise
from tests.optimizing.test_stage import PARAMS, optimize
from tests.phases import PLAIN, optimizing, train

pytestmark = pytest.mark.xdist_group("distilling")

SUPERNET = tiny_network()
NETWORK = scramble(discretize(SUPERNET, decide(torch.zeros(2, 5, 4), SUPERNET.blueprint))).eval()
FACTS = ModelFacts(
    classes=("a", "b", "c"),
    height=8,
    width=8,
    channels=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.3, 0.3, 0.3),
    genotype={},
    digests={},
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of teachers, and of files that are none."""
    folder = tmp_path_factory.mktemp("models")
    for name, facts in {
        "right": FACTS,
        "any size": replace(FACTS, height=9, width=9, any_size=True),
        "other size": replace(FACTS, height=9, width=9),
        "other order": replace(FACTS, classes=("a", "c", "b")),
    }.items():
        (folder / f"{name}.onnx").write_bytes(export_onnx(NETWORK, facts))
    for name, classes in {"null": "null", "number": "5", "deep": "[" * 100_000}.items():
        changed = onnx.load_model_from_string((folder / "right.onnx").read_bytes())
        for entry in changed.metadata_props:
            if entry.key == "classes":
                entry.value = classes
        onnx.save_model(changed, folder / f"{name}.onnx")
    (folder / "text.onnx").write_text("a text")
    whole = (folder / "right.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    return tmp_path


@torch.no_grad()
def test_the_soft_targets_are_the_teachers_answers_to_the_plain_images(
    models: Path, here: Path
) -> None:
    write_noise(here, training=300, validation=8)
    images = random_images(300)
    targets = soft_targets(str(models / "right.onnx"), images, read_facts(here))
    mean, std = torch.tensor(FACTS.mean), torch.tensor(FACTS.std)
    logits = NETWORK(normalise(images.pixels, mean, std))
    assert targets is not None
    torch.testing.assert_close(targets, (logits / TEMPERATURE).softmax(1), rtol=1e-4, atol=1e-5)
    assert soft_targets(None, images, read_facts(here)) is None


@pytest.mark.parametrize("micro_batch", [8, 3])
def test_each_image_is_taught_its_own_answer(micro_batch: int, checkpoint: Path) -> None:
    given = context(24, augmentation=PLAIN)
    images, labels = given.images, given.images.labels
    answers = (labels + torch.randint(3, (24,), generator=generator(0, "answers"))) % 3
    taught = F.one_hot(answers, 3).float()
    phase = optimizing(checkpoint, given, taught=taught, epochs=30, label_smoothing=0.0)
    state = phase.begin()
    state.micro_batch = micro_batch
    train(phase, state)
    with torch.no_grad():
        pixels = normalise(images.pixels, images.mean, images.std)
        found = state.result.eval()(pixels).softmax(1)[answers != labels]
    third = 3 - labels - answers
    shares = [found.gather(1, one[answers != labels, None]) for one in (labels, answers, third)]
    of_label, of_answer, of_none = (float(one.mean()) for one in shares)
    assert of_label > 0.1
    assert of_answer > 0.5
    assert of_none < 0.05


def test_the_targets_of_mixed_images_are_mixed_alike() -> None:
    logits = torch.randn(6, 3, generator=generator(0, "logits")).requires_grad_()
    taught = torch.rand(6, 3, generator=generator(0, "taught")).softmax(1)
    labels, own = random_images(6).labels, torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    loss = Loss(label_smoothing=0.0, weights=None)
    mixed = own[:, None] * taught + (1 - own)[:, None] * partners(taught)
    alone, hard = loss(logits, labels, own, taught), loss(logits, labels, own)
    expected = (hard + divergence(logits, mixed).mean()) / 2
    torch.testing.assert_close(
        torch.autograd.grad(alone, logits), torch.autograd.grad(expected, logits)
    )


def test_the_file_decides_the_result_and_the_name_of_the_resume_points(
    models: Path, here: Path
) -> None:
    teacher, results, folders = here / "teacher.onnx", [], []
    params = tiny(OptimizeParams, teacher=str(teacher))
    for name in ("right", "any size"):
        teacher.write_bytes((models / f"{name}.onnx").read_bytes())
        results.append(optimize(here / name, teacher=str(teacher))[0])
        folders.append(resume_points("optimize", params, *params.files).folder)
    alone, _ = optimize(here / "alone")
    assert len({*results, alone}) == 3
    assert folders[0] != folders[1]
    assert optimize(here / "alone again")[0] == alone


REFUSED = {
    "missing": "cannot be read: No such file or directory",
    "text": "not an ONNX model",
    "cut": "not an ONNX model",
    "null": "no classifier of this project; expected",
    "number": "no classifier of this project; expected",
    "deep": "no classifier of this project; expected",
    "other size": "takes images of 9 x 9 pixels, the data has 8 x 8; expected",
}


@pytest.mark.parametrize("name", [*REFUSED, "other order"])
def test_a_file_that_cannot_teach_is_refused_in_one_line(
    name: str, models: Path, here: Path
) -> None:
    teacher = models / f"{name}.onnx"
    reason = {**REFUSED, "other order": "its class 1 is 'c', the data's is 'b'; expected"}[name]
    with pytest.raises(DataError) as refused:
        optimize(here, teacher=str(teacher))
    assert str(refused.value).startswith(f"optimize.teacher: {teacher}: {reason}")
    params = Params(optimize=OptimizeParams(teacher=str(teacher)))
    if name in REFUSED:
        with pytest.raises(DataError) as at_once:
            check(params, here)
        assert str(at_once.value) == str(refused.value)
    else:  # the classes of the data are not known yet
        check(params, here)


@pytest.mark.parametrize("path", ["\x1b[2J.onnx", "a\nb", "~/t.onnx", "s3://bucket/t.onnx", ""])
def test_a_teacher_that_cannot_be_a_file_here_is_refused(path: str) -> None:
    with pytest.raises(ValidationError) as refused:
        OptimizeParams(teacher=path)
    [mistake] = refused.value.errors()
    assert mistake["msg"].isprintable()


@pytest.mark.parametrize("folder", [".", "../{name}", "{whole}"])
def test_a_teacher_among_the_artifacts_is_refused(folder: str, here: Path) -> None:
    path = f"{folder}/artifacts/export/model.onnx".format(name=here.name, whole=here)
    text = PARAMS.replace("teacher:  ", f"teacher: {path}  ")
    with pytest.raises(ParamsError, match=r"^params\.yaml: optimize\.teacher: expected a copy out"):
        parse_params(Params, text, "params.yaml", whole=True)
