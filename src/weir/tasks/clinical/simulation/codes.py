"""Codes of simulated patients: what is measured and done, in which panels, by severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

LOADING = np.array([0.9, 0.85, 0.85, 0.75])
"""How much of an organ's state is the patient's severity, `[organ]`.

The organs are circulation, respiration, kidney and liver.
"""

ORGAN_SD, ORGAN_HOURS = 0.3, 12.0
"""SD and forgetting time of the part of an organ's state that is its own."""

TOP = 3.0
"""Severity above which, and below whose negative, frequencies rise and fall no more."""


@dataclass(frozen=True)
class Source:
    """What makes events at one time: a visit, a panel or a treatment.

    Attributes:
        name: for treatments, their code.
        per_day: at severity 0.
        gain: rise of the log frequency by one unit of severity.
        kind: which setting scales it, and which events share a time (panels do).
    """

    name: str
    per_day: float
    gain: float
    kind: Literal["visit", "panel", "treatment"]


SOURCES = (
    Source("visit", 18.0, 0.16, "visit"),
    Source("chemistry", 1.6, 0.3, "panel"),
    Source("blood_gas", 1.6, 0.5, "panel"),
    Source("blood_count", 1.3, 0.25, "panel"),
    Source("liver_panel", 0.4, 0.45, "panel"),
    Source("Vasopressor", 0.6, 0.65, "treatment"),
    Source("Fluid bolus", 1.2, 0.4, "treatment"),
    Source("Antibiotic", 1.2, 0.2, "treatment"),
    Source("Transfusion", 0.2, 0.45, "treatment"),
)

TREATMENTS = {
    "Vasopressor": "Vasopressor started or raised",
    "Fluid bolus": "Fluid bolus",
    "Antibiotic": "Antibiotic given",
    "Transfusion": "Red cells transfused",
}


@dataclass(frozen=True)
class Measured:
    """A code with a value, `form(centre + spread (strength organ + noise normal))`.

    Attributes:
        name: the code.
        description: with its unit.
        source: name of the source.
        organ: number of the organ.
        form: linear; log: the exponential of it; below: 100 minus the exponential.
        centre: at organ state 0, as `form` takes it.
        spread: the same, by one of the inner sum.
        strength: of the organ's state; negative where the value falls with severity.
        share: of the source's events that have the code.
        decimals: that are written.
    """

    name: str
    description: str
    source: str
    organ: int
    form: Literal["linear", "log", "below"]
    centre: float
    spread: float
    strength: float
    share: float
    decimals: int

    def value(self, state: np.ndarray) -> np.ndarray:
        """Clinical value `[event]` of the inner sum `[event]`."""
        inner = self.centre + self.spread * state
        if self.form == "log":
            inner = np.exp(inner)
        elif self.form == "below":
            inner = 100 - np.exp(np.minimum(inner, 4.2))
        return np.maximum(inner, 0).round(self.decimals).astype("float32")


def _of(
    source: str, *rows: tuple[str, str, int, str, float, float, float, float, int]
) -> list[Measured]:
    return [Measured(name, text, source, *rest) for name, text, *rest in rows]  # type: ignore[arg-type]


MEASURED = (
    *_of(
        "visit",
        ("HR", "Heart rate (bpm)", 0, "linear", 87, 15, 0.5, 0.95, 0),
        ("SysABP", "Invasive systolic blood pressure (mmHg)", 0, "linear", 119, 19, -0.45, 0.9, 0),
        ("MAP", "Invasive mean blood pressure (mmHg)", 0, "linear", 80, 13, -0.5, 0.7, 0),
        ("RespRate", "Respiration rate (bpm)", 1, "linear", 19.5, 4.5, 0.45, 0.8, 0),
        ("SaO2", "O2 saturation in haemoglobin (%)", 1, "below", 1.1, 0.5, 0.5, 0.5, 1),
        ("Temp", "Temperature (C)", 3, "linear", 37, 0.8, 0.25, 0.4, 1),
        ("Urine", "Urine output (mL)", 2, "log", 4.4, 0.7, -0.5, 0.5, 0),
        ("DiasABP", "Invasive diastolic blood pressure (mmHg)", 0, "linear", 59, 12, -0.4, 0.7, 0),
    ),
    *_of(
        "chemistry",
        ("BUN", "Blood urea nitrogen (mg/dL)", 2, "log", 3.0, 0.5, 0.8, 0.97, 1),
        ("Creatinine", "Serum creatinine (mg/dL)", 2, "log", 0.1, 0.4, 0.9, 0.97, 2),
        ("Na", "Serum sodium (mEq/L)", 2, "linear", 139, 5, 0.0, 0.97, 0),
        ("K", "Serum potassium (mEq/L)", 2, "linear", 4.1, 0.6, 0.4, 0.97, 2),
        ("HCO3", "Serum bicarbonate (mmol/L)", 2, "linear", 23, 4, -0.7, 0.97, 1),
        ("Glucose", "Serum glucose (mg/dL)", 0, "log", 4.85, 0.3, 0.4, 0.95, 0),
    ),
    *_of(
        "blood_gas",
        ("pH", "Arterial pH", 1, "linear", 7.38, 0.06, -0.7, 0.98, 3),
        ("PaO2", "Partial pressure of arterial O2 (mmHg)", 1, "log", 4.8, 0.4, -0.6, 0.98, 0),
        ("PaCO2", "Partial pressure of arterial CO2 (mmHg)", 1, "linear", 40, 8, 0.4, 0.98, 1),
        ("Lactate", "Lactate (mmol/L)", 0, "log", 0.7, 0.45, 0.9, 0.7, 2),
    ),
    *_of(
        "blood_count",
        ("WBC", "White blood cell count (cells/nL)", 0, "log", 2.4, 0.45, 0.5, 0.97, 1),
        ("HCT", "Haematocrit (%)", 3, "linear", 31, 5, -0.4, 0.97, 1),
        ("Platelets", "Platelets (cells/nL)", 3, "log", 5.1, 0.5, -0.7, 0.97, 0),
    ),
    *_of(
        "liver_panel",
        ("Bilirubin", "Bilirubin (mg/dL)", 3, "log", 0.2, 0.8, 0.8, 0.95, 2),
        ("AST", "Aspartate transaminase (IU/L)", 3, "log", 4.1, 1.0, 0.8, 0.95, 0),
        ("Albumin", "Albumin (g/dL)", 3, "linear", 2.9, 0.55, -0.7, 0.6, 2),
    ),
)

ICU_SHIFT = (0.0, -0.35, 0.15, 0.1)
"""Mean severity by type of unit: coronary, cardiac surgery recovery, medical, surgical."""

ICU_SHARE = (0.15, 0.2, 0.37, 0.28)

AGE_MEAN, AGE_SD, AGE_EFFECT = 64.0, 17.0, 0.35
"""Age in years, and the rise of mean severity by one SD of it."""

ADMISSION = "ADMISSION"

CODES = {
    ADMISSION: "Admission to the unit",
    **{code.name: code.description for code in MEASURED},
    **TREATMENTS,
}
"""Timed codes before the prediction, in the order of their numbers, and what they are."""

STATIC = {
    "Age": "Age (years, static)",
    "GENDER//F": "Female (static)",
    "GENDER//M": "Male (static)",
    "ICU_TYPE//1": "Coronary care unit (static)",
    "ICU_TYPE//2": "Cardiac surgery recovery unit (static)",
    "ICU_TYPE//3": "Medical unit (static)",
    "ICU_TYPE//4": "Surgical unit (static)",
}
"""Codes without a time."""

DISCHARGE = "DISCHARGE"
