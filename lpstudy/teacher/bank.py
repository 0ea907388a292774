"""The teacher bank: its outputs for (view, sample), computed once and mapped into memory by all runs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lpstudy.distill import Needs
from lpstudy.distill.method import EMBEDDING
from lpstudy.outputs import Batch, Network, Outputs
from lpstudy.teacher.bank_plan import LOGITS, MAP
from lpstudy.teacher.device_views import DeviceViews, room_on
from lpstudy.teacher.online import OnlineTeacher


class Bank:
    """Looks up what is kept and runs the teacher for the rest; see `lpstudy.training.TeacherOutputs`.

    Args:
        kept: By name, of shape (views, n, ...); in files mapped into memory, so that all processes of a
            machine share the pages.
        network: The teacher, or its shapes alone where nothing has to be run.
        macs: Multiply-accumulates of one image's forward pass.
        online: Runs the teacher; may be None where everything is kept.
        device: Where outputs are wanted. A GPU gets a whole view at a time, and has it for all runs of the
            process where the whole bank takes little of its memory: see `DeviceViews`.
    """

    def __init__(
        self,
        kept: Mapping[str, Tensor],
        network: Network,
        macs: int,
        online: OnlineTeacher | None,
        device: torch.device,
    ) -> None:
        self._kept, self._network, self._macs = kept, network, macs
        self._online = online
        self._views = next(iter(kept.values())).shape[0]
        on_gpu = device.type == "cuda"
        self._on_device = DeviceViews(kept, device, room_on(device)) if on_gpu else None

    @property
    def network(self) -> Network:
        """The teacher, or its shapes alone, on the meta device."""
        return self._network if self._online is None else self._online.network

    def macs(self, needs: Needs, epoch: int) -> int:
        """Multiply-accumulates that one image's outputs cost in an epoch: of a view seen before, none."""
        if self._left(needs) != Needs():
            return self._macs
        return self._macs if needs != Needs() and epoch <= self._views else 0

    @torch.no_grad()
    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """What is needed, in float32; what is not needed has no columns.

        Raises:
            ValueError: An output is needed that is neither kept nor computed.
        """
        left = self._left(needs)
        ran: Outputs | None = None
        if left != Needs():
            if self._online is None:
                raise ValueError(f"the teacher bank holds {', '.join(self._kept)} only")
            ran = self._online.outputs(batch, left)
        found = {name: self._rows(name, batch) for name in _names(needs) if name in self._kept}
        nothing = batch.images.new_empty(len(batch.samples), 0)
        return Outputs(
            logits=found.get(LOGITS, ran.logits if ran and left.logits else nothing),
            embedding=found.get(EMBEDDING, ran.embedding if ran and left.embedding else nothing),
            maps={
                name: found[MAP + name] if MAP + name in found else ran.maps[name] if ran else nothing
                for name in needs.maps
            },
        )

    def fetch(self, view: int) -> None:
        """Begin to read the view that the next epoch shows, where a GPU would have to wait for it."""
        if self._on_device is not None:
            self._on_device.fetch(view)

    def _left(self, needs: Needs) -> Needs:
        """What of it is not kept."""
        return Needs(
            logits=needs.logits and LOGITS not in self._kept,
            embedding=needs.embedding and EMBEDDING not in self._kept,
            maps=frozenset(name for name in needs.maps if MAP + name not in self._kept),
        )

    def _rows(self, name: str, batch: Batch) -> Tensor:
        held = self._on_device
        view = self._kept[name][batch.view] if held is None else held.view(name, batch.view)
        return view.index_select(0, batch.samples).float()


def _names(needs: Needs) -> list[str]:
    names = [LOGITS] if needs.logits else []
    names += [EMBEDDING] if needs.embedding else []
    return names + [MAP + name for name in needs.maps]
