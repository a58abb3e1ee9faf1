"""Events of simulated patients: which source occurs when, and what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation.codes import (
    ADMISSION,
    CODES,
    LOADING,
    MEASURED,
    ORGAN_HOURS,
    ORGAN_SD,
    SOURCES,
    TREATMENTS,
)
from weir.tasks.clinical.simulation.severity import Calibration, Patients, chances


@dataclass(frozen=True)
class Seen:
    """Events of patients before the prediction, and what they tell of the latent states.

    Attributes:
        happened: `[patient, step, source]` bool.
        precision: `[patient, step, organ]` of what the values together tell of the organ's state.
        information: `[patient, step, organ]` precision times the state that they tell.
        patient: `[event]` int64.
        second: `[event]` int64 since admission.
        code: `[event]` int16, number in `CODES`.
        value: `[event]` float32, NaN for none.
    """

    happened: np.ndarray
    precision: np.ndarray
    information: np.ndarray
    patient: np.ndarray
    second: np.ndarray
    code: np.ndarray
    value: np.ndarray


def observe(
    settings: Simulation, law: Calibration, patients: Patients, random: np.random.Generator
) -> Seen:
    """Draw the events of patients up to the prediction."""
    shape = patients.severity.shape
    happened = np.empty((*shape, len(SOURCES)), bool)
    chance = chances(settings, patients.severity) if settings.informative else law.chance
    for number in range(len(SOURCES)):
        happened[..., number] = random.random(shape, "float32") < chance[number]
    organs = draw_organs(settings, patients.severity, random)
    seconds = {kind: _seconds(settings, shape, random) for kind in ("bedside", "laboratory")}
    precision, information = np.zeros((2, *shape, len(LOADING)))
    pieces: list[tuple[np.ndarray, np.ndarray, str, np.ndarray]] = [
        # The first event is the admission, so that the record begins when the stay does.
        (np.arange(shape[0]), np.zeros(shape[0], "int64"), ADMISSION, _none(shape[0]))
    ]
    number_of = {source.name: number for number, source in enumerate(SOURCES)}
    for code in MEASURED:
        source = number_of[code.source]
        place = np.nonzero(happened[..., source])
        some = random.random(len(place[0]), "float32") < code.share
        row, step = place[0][some], place[1][some]
        state = code.strength * organs[row, step, code.organ]
        state += settings.noise * random.standard_normal(len(row))
        value = code.value(state)
        null = random.random(len(row), "float32") < settings.missing_values
        false = random.random(len(row), "float32") < settings.artefacts
        value[false] *= np.where(random.random(int(false.sum())) < 0.5, 0, 10).astype("float32")
        value[null] = np.nan
        told = ~null & ~false
        weight = code.strength / settings.noise**2
        precision[row[told], step[told], code.organ] += weight * code.strength
        information[row[told], step[told], code.organ] += weight * state[told]
        clock = seconds["bedside" if SOURCES[source].kind == "visit" else "laboratory"]
        pieces.append((row, clock[row, step], code.name, value))
    for name in TREATMENTS:
        row, step = np.nonzero(happened[..., number_of[name]])
        pieces.append((row, seconds["bedside"][row, step], name, _none(len(row))))
    numbers = {name: number for number, name in enumerate(CODES)}
    return Seen(
        happened,
        precision,
        information,
        np.concatenate([piece[0] for piece in pieces]),
        np.concatenate([piece[1] for piece in pieces]),
        np.concatenate([np.full(len(piece[0]), numbers[piece[2]], "int16") for piece in pieces]),
        np.concatenate([piece[3] for piece in pieces]),
    )


def draw_organs(
    settings: Simulation, severity: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """States of the organs, `[patient, step, organ]`: severity, and a part of each organ's own."""
    keep = organ_keep(settings)
    organs = np.empty((*severity.shape, len(LOADING)))
    own = ORGAN_SD * random.standard_normal((len(severity), len(LOADING)))
    for step in range(severity.shape[1]):
        if step:
            noise = random.standard_normal(own.shape)
            own = keep * own + ORGAN_SD * math.sqrt(1 - keep**2) * noise
        organs[:, step] = LOADING * severity[:, step, None] + own
    return organs


def organ_keep(settings: Simulation) -> float:
    """Share of an organ's own part that is left after one step."""
    return math.exp(-settings.step_minutes / 60 / ORGAN_HOURS)


def _seconds(
    settings: Simulation, shape: tuple[int, int], random: np.random.Generator
) -> np.ndarray:
    """A time in each step, `[patient, step]` int64 seconds since admission, after 0."""
    width = 60 * settings.step_minutes
    start = width * np.arange(shape[1])
    limit = settings.hours * 3600
    seconds = start + (0.02 + 0.96 * random.random(shape)) * width
    return np.minimum(seconds, limit).astype("int64")


def _none(count: int) -> np.ndarray:
    return np.full(count, np.nan, "float32")
