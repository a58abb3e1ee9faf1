"""Parts of the evaluation of pictures against closed forms."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_sets import clouds, halves
from PIL import Image
from torch import Tensor

from weir.artifacts.model_folder import ModelCard
from weir.errors import WeirError
from weir.flows.model import FlowModel
from weir.flows.paths import Path as Between
from weir.metrics import scores
from weir.stages.evaluate import kind
from weir.tasks.image.data.load import Images
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.evaluation.definitions import DEFINITIONS, definition, ordered
from weir.tasks.image.evaluation.denoising import denoises_pixels, denoising_scores
from weir.tasks.image.evaluation.density import bit_scores
from weir.tasks.image.evaluation.features import nearest_scores, two_sample_auc
from weir.tasks.image.evaluation.pictures import PictureTable, png, sheet
from weir.tasks.image.evaluation.samples import HeldOut, proper_scores, some
from weir.tasks.image.evaluation.toys import point_scores


def held(**settings) -> HeldOut:
    data = halves(**settings)
    return HeldOut.of(data.split("test"), data.schema)


def test_items_are_dequantised_within_their_levels_and_always_alike() -> None:
    one, other = held(test=100), held(test=100)
    assert torch.equal(one.unit, other.unit)
    assert one.rounds == 10
    rounds = [one.dequantised(n) for n in range(2)]
    assert not torch.equal(*rounds) and not torch.equal(rounds[0], one.unit)
    for unit in (one.unit, *rounds):
        assert torch.equal(one.scale.quantise(unit), one.raw)
    assert held(test=1200).rounds == 1


def test_samples_are_thinned_to_the_items_shares() -> None:
    items = replace(held(), shares=torch.tensor([0.75, 0.25]))
    samples = torch.arange(24.0).reshape(2, 12)
    points, label = items.thinned(samples)
    assert label.tolist() == [0] * 12 + [1] * 4
    assert points.tolist() == [*range(12), 12, 13, 14, 15]


def test_some_are_spread_over_all() -> None:
    assert some(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert some(101, 3).tolist() == [0, 50, 100]


def test_proper_scores_are_means_over_all_items() -> None:
    """Classes of different sizes: the mean is over items, not over classes."""
    items = held(test=30)
    unequal = replace(items, raw=items.raw[:20], unit=items.unit[:20], label=items.label[:20])
    unequal = replace(unequal, label=(torch.arange(20) < 5).long())
    samples = torch.randn(2, 7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = proper_scores(samples, unequal)
    flat = unequal.unit.flatten(1)
    members = samples[unequal.label].flatten(2)
    expected = scores.energy_score(members, flat).mean()
    assert found["energy_score"] == pytest.approx(float(expected), rel=1e-5)
    expected = scores.crps(members.movedim(1, -1), flat).mean()
    assert found["crps"] == pytest.approx(float(expected), rel=1e-5)


class Uniform:
    """Uniform on [-1, 1] per pixel, but of one class only on the half of bright levels."""

    has_density = True

    def log_prob(self, unit: Tensor, label: Tensor) -> Tensor:
        whole = torch.full((len(unit),), -unit[0].numel() * math.log(2.0))
        return whole + torch.where(label == 1, 3.0, 0.0)


def test_bits_of_a_uniform_law_are_those_of_its_levels() -> None:
    """8 levels: 3 bits; e^3 times the density for one class of two, whichever is asked."""
    items = held()
    found, table = bit_scores(Uniform(), items)
    more = math.log((1 + math.exp(3)) / 2) / 16 / math.log(2)
    assert found["bits_per_dim"] == pytest.approx(3 - more, rel=1e-6)
    assert found["bits_per_dim_class"] == pytest.approx(3 - 3 / 2 / 16 / math.log(2), rel=1e-6)
    assert found["bayes_accuracy"] == 0.5
    assert table["bits"].mean() == pytest.approx(found["bits_per_dim"])
    assert table["label"].tolist() == [items.classes[c] for c in items.label]


def test_priors_weigh_the_classes() -> None:
    items = replace(held(), priors=torch.tensor([0.9, 0.1]))
    found, _ = bit_scores(Uniform(), items)
    more = math.log(0.9 + 0.1 * math.exp(3)) / 16 / math.log(2)
    assert found["bits_per_dim"] == pytest.approx(3 - more, rel=1e-6)


def test_a_density_that_is_not_finite_is_an_error() -> None:
    class Broken(Uniform):
        def log_prob(self, unit: Tensor, label: Tensor) -> Tensor:
            return torch.where(label == 1, torch.nan, 0.0)

    with pytest.raises(WeirError, match="log density of 100 pictures"):
        bit_scores(Broken(), held())


class Shrinks:
    """Gives back a share of what it sees."""

    has_denoiser, code = True, None

    def __init__(self, share: float) -> None:
        self.share = share

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        assert sigma.shape == label.shape == (len(event),)
        return self.share * event


def test_denoising_error_is_a_share_of_the_variance() -> None:
    """Of unit variance: what is shrunk to 0 errs by 1, what is given back by the noise's."""
    items = held(test=400)
    variance = float(items.scale.event(items.unit).square().mean()) / SIGMA_DATA**2
    nothing, table = denoising_scores(Shrinks(0.0), items, [0.5, 2.0])
    assert list(nothing) == ["denoising_mse_0.5", "denoising_mse_2"]
    assert nothing["denoising_mse_2"] == pytest.approx(variance, rel=0.01)
    assert variance == pytest.approx(1, abs=0.05)
    everything, _ = denoising_scores(Shrinks(1.0), items, [0.5, 2.0])
    assert everything["denoising_mse_0.5"] == pytest.approx(0.25, rel=0.05)
    assert everything["denoising_mse_2"] == pytest.approx(4, rel=0.05)
    assert table["sigma"].tolist() == [0.5, 2.0]


def test_latents_are_no_pixels() -> None:
    model = Shrinks(0.0)
    assert denoises_pixels(model)
    model.code = type("Latent", (), {"log_volume": None})()
    assert not denoises_pixels(model)


def told(samples: Tensor, items: HeldOut) -> float:
    """How well trees tell samples from held-out items."""
    return two_sample_auc(samples, items, seed=0)["two_sample_auc"]


def test_copies_lie_near_training_items_and_strangers_can_be_told() -> None:
    data = halves(train=200, test=200)
    items, train = HeldOut.of(data.split("test"), data.schema), data.split("train")
    own = torch.stack([items.scale.unit(train.raw[train.label == c].float())[:90] for c in (0, 1)])
    copies, table = nearest_scores(own, items, train)
    assert copies["nearest_ratio"] == 0
    assert table.groupby("kind").size().to_dict() == {"sample": 180, "test": 200}
    away, _ = nearest_scores(own + 5, items, train)
    assert away["nearest_ratio"] > 5
    assert told(own + 0.3, items) > 0.9


def test_class_and_picture_are_told_together() -> None:
    """Samples of the classes interchanged: the pictures alone are right."""
    data = halves(train=200, test=200)
    items, train = HeldOut.of(data.split("test"), data.schema), data.split("train")
    unit = train.raw.float() + torch.rand(train.raw.shape, generator=torch.Generator())
    unit = unit / 4 - 1
    own = torch.stack([unit[train.label == c][:100] for c in (0, 1)])
    assert told(own, items) == pytest.approx(0.5, abs=0.1)
    assert told(own.flip(0), items) > 0.9


def test_energy_distance_of_one_law_has_no_bias() -> None:
    """Both sets have as many points of each class, which are far apart."""
    values = []
    for seed in range(40):
        data = clouds(train=40, test=40, seed=seed)
        items, train = HeldOut.of(data.split("test"), data.schema), data.split("train")
        own = torch.stack([train.raw[train.label == c] for c in (0, 1)])
        values.append(point_scores(own, items)[0]["energy_distance"])
    found = torch.tensor(values)
    assert abs(float(found.mean())) < 3 * float(found.std()) / math.sqrt(40)
    assert float(found.std()) < 0.05


def test_pictures_keep_their_pixels() -> None:
    unit = torch.tensor([[-1.0, 0.0, 1.0], [2.0, -3.0, 0.5]])[None]
    shown = np.asarray(Image.open(io.BytesIO(png(unit))))
    assert shown.tolist() == [[0, 128, 255], [255, 0, 191]]
    colour = torch.stack([torch.full((2, 2), value) for value in (-1.0, 0.0, 1.0)])
    assert np.asarray(Image.open(io.BytesIO(png(colour))))[0, 0].tolist() == [0, 128, 255]


def test_sheet_has_a_row_for_each_class() -> None:
    pictures = (
        torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 1, 2, 3).reshape(2, 3, 1, 2, 3)
    )
    shown = np.asarray(Image.open(io.BytesIO(sheet(pictures))))
    assert shown.shape == (2 * 3 - 1, 3 * 4 - 1)
    assert shown[0, ::4].tolist() == [0, 51, 102] and shown[3, ::4].tolist() == [153, 204, 255]
    assert (shown[2] == 255).all() and (shown[:, 3] == 255).all()


class Straight(FlowModel):
    """Carries noise along a straight line to a picture of its class."""

    event, path, steps, solver = (1, 4, 4), Between("linear"), 4, "euler"

    def condition(self, batch: Images) -> tuple:
        return (batch.label,)

    def colour(self, white: Tensor, condition: tuple) -> Tensor:
        return white

    def velocity(self, x: Tensor, t: Tensor, condition: tuple, step=None) -> Tensor:
        goal = condition[0][:, None, None, None, None] - 0.5
        return (goal - x) / (1 - t)

    def decode(self, x: Tensor, condition: tuple) -> Tensor:
        return x


def test_trajectories_lead_from_noise_to_samples() -> None:
    items, model = held(), Straight()
    table = PictureTable(items.classes)
    table.add_trajectories(model, items, steps=4, solver="euler", seed=0)
    frame = table.frame()
    assert len(frame) == 2 * 5 and set(frame["kind"]) == {"trajectory"}
    way = frame[frame["row"] == 1]
    # Noise over data of the linear path: (1 - t) / t at 0, 1/4, .., 1.
    assert math.isnan(way["value"].iloc[0])
    assert way["value"].tolist()[1:] == pytest.approx([3, 1, 1 / 3, 0])
    last = np.asarray(Image.open(io.BytesIO(way["png"].iloc[-1])))
    assert (last == 191).all()  # .5 on the unit scale


def test_students_have_no_way_to_show() -> None:
    items, model = held(), Straight()
    table = PictureTable(items.classes)
    model.student = True
    table.add_trajectories(model, items, steps=4, solver="euler", seed=0)
    assert table.rows == []


def test_every_score_has_words() -> None:
    some_denoising = definition("denoising_mse_0.25")
    assert "0.25 standard deviations" in some_denoising.definition
    assert all(definition(name) is words for name, words in DEFINITIONS.items())
    found = ordered({"denoising_mse_1": 0.1, "crps": 1.0, "energy_score": 2.0})
    assert list(found) == ["energy_score", "crps", "denoising_mse_1"]


def test_training_images_are_a_ceiling() -> None:
    card = ModelCard("baseline", "a", 0, "image", "digits", {"method": "training_images"}, {})
    assert kind(card) == "ceiling"
