"""What the objectives of the second stage share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.image.data import Images
    from weir.tasks.image.image_flow import ImageFlow


class ImageObjective(Objective):
    """A batch of pictures as events and shown labels; subclasses implement `losses`.

    Args:
        model: the flow to train.
    """

    def __init__(self, model: ImageFlow) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, batch: Images, progress: float) -> dict[str, Tensor]:
        """Means over items, among them `loss`."""
        return self.losses(self.model.events(batch), self.model.shown(batch.label))

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Losses of events `[item, *event]` with labels `[item]`."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and the embeddings of classes do not."""
        spared = {
            id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
        }
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim >= 2 and id(p) not in spared]
        free = [p for p in trained if p.ndim < 2 or id(p) in spared]
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
