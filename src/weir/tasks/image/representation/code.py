"""First stages: maps between pictures on the unit scale and events, in which a flow lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from weir.tasks.image.data.scale import Scale

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageSet


class ImageCode(nn.Module):
    """Base of the first stages.

    Attributes:
        scale: of the data.
        shape: of an item.
        event: shape of an event, whose values have a standard deviation of about `SIGMA_DATA`.
        log_volume: `log p_unit = log p_event + D log_volume`; None if the map is not one to one, so
            that a density of events is none of pictures.
    """

    scale: Scale
    shape: tuple[int, ...]
    event: tuple[int, ...]
    log_volume: float | None

    def encode(self, unit: Tensor) -> Tensor:
        """Events `[item, *event]` of pictures `[item, *shape]`."""
        raise NotImplementedError

    def decode(self, event: Tensor) -> Tensor:
        """Pictures `[item, *shape]` of events `[item, *event]`; not clipped."""
        raise NotImplementedError

    def fit(self, data: ImageSet) -> None:
        """Set the events' unit by training items, once the code is trained."""


class PixelCode(ImageCode):
    """The pixels themselves, shifted and scaled by two numbers; nothing is trained.

    Args:
        shape: of an item.
        scale: of the data.
    """

    def __init__(self, shape: tuple[int, ...], scale: Scale) -> None:
        super().__init__()
        self.shape = self.event = shape
        self.scale = scale
        self.log_volume = scale.log_volume

    def encode(self, unit: Tensor) -> Tensor:
        """See `Scale.event`."""
        return self.scale.event(unit)

    def decode(self, event: Tensor) -> Tensor:
        """See `Scale.to_unit`."""
        return self.scale.to_unit(event)
