"""From a node to a processed folder: digits, toys, MNIST, and the judge."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_files import by_row, idx, npz, pictures, process_files, put
from sklearn.datasets import load_digits

from weir.errors import UserError, WeirError
from weir.stages import fetch
from weir.tasks.image.data.judge import JUDGE, Judge
from weir.tasks.image.data.load import IMAGES, ImageData, ImageSet, load
from weir.tasks.image.data.scale import SIGMA_DATA, Scale
from weir.tasks.image.preprocessing.judge_training import train_judge
from weir.tasks.image.preprocessing.preprocess import preprocess
from weir.tasks.image.settings.dataset import ImageDataset, JudgeSettings
from weir.tasks.image.simulation import bundled

MIRROR = Path(os.environ.get("WEIR_DATA_MIRROR", "")) / "image" / "mnist"

MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def made(folder: Path, name: str = "set", **node: object) -> ImageData:
    """Fetch, preprocess and load a node."""
    config = ImageDataset.model_validate({"task": "image"} | node)
    raw, output = folder / "raw", folder / "processed" / name
    raw.mkdir(parents=True)
    output.mkdir(parents=True)
    fetch.run(config, SimpleNamespace(output=raw))
    preprocess(config, raw, output)
    return load(output)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> ImageData:
    """The digits, with a judge of few steps."""
    folder = tmp_path_factory.mktemp("digits")
    return made(folder, "digits", source={"bundled": "digits"}, judge={"steps": 200, "width": 8})


def test_the_digits_are_those_of_scikit_learn(digits: ImageData):
    raw, label = by_row(digits)
    assert (raw[:, 0] == load_digits().images).all()
    assert (label == load_digits().target).all()
    assert digits.name == "digits"
    assert digits.schema.levels == 17
    assert digits.schema.counts == {"train": 1295, "validation": 143, "test": 359}
    assert digits.schema.repairs == ()
    assert digits.toy() is None


def test_parts_are_disjoint_stratified_and_in_no_order(digits: ImageData):
    parts = [digits.split(part) for part in ("train", "validation", "test")]
    rows = torch.cat([items.row for items in parts])
    assert sorted(rows.tolist()) == list(range(1797))
    share = torch.bincount(parts[0].label) / len(parts[0])
    assert digits.schema.priors == pytest.approx(share.tolist())
    whole = torch.bincount(digits.items.label)
    for items, wanted in zip(parts, (0.72, 0.08, 0.2), strict=True):
        assert (torch.bincount(items.label) - wanted * whole).abs().max() < 1.3
        assert not items.row.diff().gt(0).all()


def test_center_and_spread_bring_dequantised_training_pixels_to_edms(digits: ImageData):
    scale, train = Scale.of(digits.schema), digits.split("train")
    torch.manual_seed(0)
    batch = train.batch(torch.arange(len(train)).repeat(10))
    event = scale.event(scale.dequantise(batch.raw))
    assert event.mean().item() == pytest.approx(0, abs=2e-3)
    assert event.std().item() == pytest.approx(SIGMA_DATA, abs=1e-3)


def test_a_batch_is_float_and_a_set_moves(digits: ImageData):
    test = digits.to("cpu").split("test").to("cpu")
    items = torch.tensor([3, 1, 3])
    raw, label = test.batch(items)
    assert raw.dtype == torch.float32
    assert label.dtype == torch.int64
    assert torch.equal(raw, test.raw[items].float())
    assert raw.shape == (3, 1, 8, 8)
    assert len(test) == 359


def test_the_judge_tells_digits_and_its_card_says_how_well(digits: ImageData):
    judge, card = digits.judge(), digits.schema.judge
    test, scale = digits.split("test"), Scale.of(digits.schema)
    unit = scale.unit(test.raw.float())
    right = (judge(unit).argmax(1) == test.label).float().mean().item()
    assert right == pytest.approx(card.accuracy["test"], abs=1e-6)
    assert right > 0.96
    features = judge.features(unit)
    assert features.shape == (359, card.features)
    torch.testing.assert_close(judge.head(features), judge(unit))
    # One picture alone is judged as among others.
    torch.testing.assert_close(judge(unit[:1]), judge(unit)[:1])
    assert not judge.training
    assert not any(weight.requires_grad for weight in judge.parameters())


def small_parts() -> dict[str, ImageSet]:
    random = torch.Generator().manual_seed(0)
    parts = {}
    for name, count in (("train", 60), ("validation", 20), ("test", 20)):
        label = torch.arange(count) % 2
        raw = (
            torch.randint(0, 8, (count, 1, 5, 7), generator=random) + 8 * label[:, None, None, None]
        )
        parts[name] = ImageSet(raw.to(torch.uint8), label, torch.arange(count))
    return parts


def test_the_judge_is_a_function_of_its_seed_alone():
    scale = Scale(16, 0.0, 1.0)
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(states))
        before = torch.get_rng_state()
        judge, card = train_judge(small_parts(), scale, 2, JudgeSettings(steps=30, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(torch.cat([w.flatten().float() for w in judge.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert card.accuracy == {"validation": 1.0, "test": 1.0}


def test_a_judge_that_diverges_says_where():
    settings = JudgeSettings(steps=50, learning_rate=1e30)
    with pytest.raises(WeirError, match=r"the judge's loss is .+ at step \d+; lower"):
        train_judge(small_parts(), Scale(16, 0.0, 1.0), 2, settings)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 5, 17)])
def test_a_judge_takes_pictures_of_any_size(shape):
    judge = Judge(shape, 4, 4).eval()
    assert judge(torch.zeros(2, *shape)).shape == (2, 4)


def test_other_bytes_than_the_pinned_digits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(bundled.SHA256, "digits", "0" * 64)
    with pytest.raises(WeirError, match="install the pinned scikit-learn"):
        bundled.write("digits", tmp_path)


@pytest.mark.parametrize("kind", ["moons", "spirals", "checkerboard", "mixture"])
def test_a_toy_is_its_points_with_their_law(tmp_path: Path, kind):
    source = {"simulator": {"kind": kind, "points": 1000}}
    data = made(tmp_path, "toy", source=source)
    schema = data.schema
    assert schema.shape == (2,)
    assert schema.levels is None
    assert schema.simulated
    assert data.judge() is None
    law, test = data.toy(), data.split("test")
    assert schema.classes == law.classes
    points, label = test.batch(torch.arange(len(test)))
    assert points.dtype == torch.float32
    log_prob = law.log_prob(points, label)
    assert torch.isfinite(log_prob).all()
    # The entropy is at least that of the noise, at most that of the board's squares.
    assert log_prob.mean() > -5
    train = data.split("train").raw
    assert train.double().std(correction=0).item() == pytest.approx(schema.spread, rel=1e-9)


def test_the_order_of_the_raw_files_does_not_matter(tmp_path: Path):
    images, label = pictures(40, 6, 5), np.arange(40) % 2
    files = {"a-images-idx3-ubyte": idx(images), "a-labels-idx1-ubyte": idx(label)}
    first = process_files(tmp_path / "1", files).schema
    again = process_files(tmp_path / "2", dict(reversed(files.items()))).schema
    assert first == again
    other = process_files(tmp_path / "3", files, split={"seed": 1}).schema
    assert other.digest != first.digest


def test_folders_that_are_damaged_are_refused(tmp_path: Path, digits: ImageData):
    folder = tmp_path / "digits"
    shutil.copytree(digits.folder, folder)
    (folder / JUDGE).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"judge\.safetensors cannot be read .+rerun weir prep"):
        load(folder).judge()
    told = json.loads((folder / "schema.json").read_bytes())
    (folder / "schema.json").write_text(json.dumps(told | {"digest": "0"}))
    with pytest.raises(UserError, match=r"does not fit its schema\.json; rerun"):
        load(folder)
    (folder / IMAGES).write_bytes((folder / IMAGES).read_bytes()[:500])
    with pytest.raises(UserError, match=r"images\.safetensors cannot be read"):
        load(folder)
    (folder / "schema.json").write_text("{}")
    with pytest.raises(UserError, match=r"schema\.json is damaged"):
        load(folder)


@pytest.mark.parametrize("content", [None, b"{}", b'{"files": []}', b"["])
def test_a_raw_folder_without_its_source_is_refused(tmp_path: Path, content):
    put(tmp_path, {"set.npz": npz(images=pictures(9, 4, 4), labels=np.zeros(9, int))})
    if content is not None:
        (tmp_path / "source.json").write_bytes(content)
    config = ImageDataset.model_validate({"task": "image", "source": {"bundled": "digits"}})
    with pytest.raises(UserError, match="rerun weir fetch"):
        preprocess(config, tmp_path, tmp_path)


def test_mnist_is_as_published(tmp_path: Path):
    if not (MIRROR / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("WEIR_DATA_MIRROR does not hold it")
    source = {"mirror": "image/mnist", "gzip": True, "sha256": MNIST}
    data = made(tmp_path, "mnist", source=source, judge=None)
    counts = data.schema.counts
    assert counts["test"] == 10_000
    assert counts["train"] + counts["validation"] == 60_000
    raw, label = by_row(data)
    # The mean that everybody subtracts.
    mean = raw[:60_000].sum(dtype="int64") / raw[:60_000].size / 255
    assert mean == pytest.approx(0.1306604762, abs=1e-9)
    assert label[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    test = np.bincount(label[60_000:]).tolist()
    assert test == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.schema.repairs == ()
