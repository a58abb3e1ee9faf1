"""The kind of model that a run works with, in words: which of several kinds of code it needs.

A task has ten baselines and a few kinds of first and second stage, each with code of its own, and a
run needs that of one chain: `distill-regression+stage2-flow+stage1-vae` is a student, trained by
regression, of a flow on an autoencoder. plan.json has the kind of each run, results/code.json a
hash for each kind. Which setting names the kind is told by its name and type: `method` or `model`
where it takes one of a few words. (Elsewhere `model` names another node.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args, get_origin

from weir.settings.base import Config
from weir.stage_table import STAGES
from weir.tasks import part

MODEL_SECTIONS = tuple(stage.section for stage in STAGES.values() if stage.trains)
"""Sections whose nodes are models."""

FIELDS = ("method", "model")
"""Settings that may name the kind of a model."""

DATA = "data"
"""The kind of a run that is before all models."""


def kind_of(chain: Iterable[tuple[str, Config]]) -> str:
    """The kind of a run, by section and settings of its node and of those below it, nearest first.

    >>> kind_of([])
    'data'
    """
    return "+".join(link(*each) for each in chain if each[0] in MODEL_SECTIONS) or DATA


def link(section: str, config: Config) -> str:
    """A model's own part of the kind: `stage1-vae`; without the setting, just its section."""
    field = _field(type(config))
    return f"{section}-{getattr(config, field)}" if field else section


def sections_of(kind: str) -> list[str]:
    """The sections of a kind's models, nearest first.

    >>> sections_of("stage2-flow+stage1-vae")
    ['stage2', 'stage1']
    """
    links = (link.partition("-")[0] for link in kind.split("+"))
    return [section for section in links if section in MODEL_SECTIONS]


def agrees(kind: str | None, section: str, config: Config) -> bool:
    """Whether a run may be of a kind, by its own settings."""
    if kind is None:
        return False
    return section not in MODEL_SECTIONS or kind.split("+")[0] == link(section, config)


def other_words(task: str, kind: str) -> frozenset[str]:
    """The words of a task's kinds that a kind has not."""
    return vocabulary(task) - set(re.split("[+-]", kind))


@cache
def vocabulary(task: str) -> frozenset[str]:
    """All words of which a task's kinds are made."""
    found = set(MODEL_SECTIONS)
    sections = part(task, "settings.sections").SECTIONS
    for section in MODEL_SECTIONS:
        if section in sections and (field := _field(sections[section])):
            found.update(get_args(sections[section].model_fields[field].annotation))
    return frozenset(found)


def _field(model: type[Config]) -> str | None:
    """The setting that names the kind, if there is one."""
    for name in FIELDS:
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is Literal:
            return name
    return None
