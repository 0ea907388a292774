"""The teacher bank: its outputs for (view, sample), computed once and mapped into memory by all runs."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lpstudy.methods import Needs
from lpstudy.methods.method import EMBEDDING
from lpstudy.outputs import Batch, Classifier, Network, Outputs
from lpstudy.teacher.bank_plan import LOGITS, MAP
from lpstudy.teacher.device_views import DeviceViews, room_on
from lpstudy.teacher.online import OnlineTeacher


class Bank:
    """Looks up banked outputs and runs the teacher for the others; see `lpstudy.training.TeacherOutputs`.

    Args:
        banked_outputs: By name, of shape (views, n, ...); in files mapped into memory, so that all processes
            of a machine share the pages.
        network: The teacher, or its shapes alone where it does not run.
        macs: Multiply-accumulates of one image's forward pass.
        online: Runs the teacher; may be None where all outputs are banked.
        device: The device of the outputs. A GPU gets a whole view at a time, and keeps all views for all runs
            of the process where the bank takes little of its memory: see `DeviceViews`.
    """

    def __init__(
        self,
        banked_outputs: Mapping[str, Tensor],
        network: Network,
        macs: int,
        online: OnlineTeacher | None,
        device: torch.device,
    ) -> None:
        self._banked_outputs, self._network, self._macs = banked_outputs, network, macs
        self._online = online
        self.classifier: Classifier | None = None if online is None else online.classifier
        """The teacher's linear map from its embedding to its logits; None where no method needs it."""
        self.read_test_logits: Callable[[], Tensor] | None = None
        """See `lpstudy.training.TeacherOutputs`."""
        self._views = next(iter(banked_outputs.values())).shape[0]
        is_gpu = device.type == "cuda"
        self._device_views = DeviceViews(banked_outputs, device, room_on(device)) if is_gpu else None

    @property
    def network(self) -> Network:
        """The teacher, or its shapes alone, on the meta device."""
        return self._network if self._online is None else self._online.network

    def macs(self, needs: Needs, epoch: int) -> int:
        """Multiply-accumulates of one image's outputs in an epoch; none for a view of an earlier epoch."""
        if self._not_banked(needs) != Needs():
            return self._macs
        return self._macs if needs != Needs() and epoch <= self._views else 0

    def stored_bytes(self, needs: Needs) -> int:
        """Bytes of the needed outputs of one image in one view, as far as they are banked."""
        banked = (self._banked_outputs[name] for name in _names(needs) if name in self._banked_outputs)
        return sum(outputs[0, 0].numel() * outputs.element_size() for outputs in banked)

    @torch.no_grad()
    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """The needed outputs, in float32; others have no columns.

        Raises:
            ValueError: A needed output is neither banked nor computed, or the images are mixed.
        """
        if batch.partners is not None:
            raise ValueError("the teacher bank has no outputs of mixed images")
        missing = self._not_banked(needs)
        computed: Outputs | None = None
        if missing != Needs():
            if self._online is None:
                raise ValueError(f"the teacher bank holds {', '.join(self._banked_outputs)} only")
            computed = self._online.outputs(batch, missing)
        banked = {name: self._rows(name, batch) for name in _names(needs) if name in self._banked_outputs}
        empty = batch.images.new_empty(len(batch.samples), 0)
        return Outputs(
            logits=banked.get(LOGITS, computed.logits if computed and missing.logits else empty),
            embedding=banked.get(EMBEDDING, computed.embedding if computed and missing.embedding else empty),
            maps={
                name: banked[MAP + name]
                if MAP + name in banked
                else computed.maps[name]
                if computed
                else empty
                for name in needs.maps
            },
        )

    def fetch(self, view: int) -> None:
        """Start to read the view of the next epoch, where a GPU would have to wait for it."""
        if self._device_views is not None:
            self._device_views.fetch(view)

    def _not_banked(self, needs: Needs) -> Needs:
        """The needed outputs that are not banked."""
        return Needs(
            logits=needs.logits and LOGITS not in self._banked_outputs,
            embedding=needs.embedding and EMBEDDING not in self._banked_outputs,
            maps=tuple(name for name in needs.maps if MAP + name not in self._banked_outputs),
        )

    def _rows(self, name: str, batch: Batch) -> Tensor:
        device_views = self._device_views
        view = (
            self._banked_outputs[name][batch.view]
            if device_views is None
            else device_views.view(name, batch.view)
        )
        return view.index_select(0, batch.samples).float()


def _names(needs: Needs) -> list[str]:
    names = [LOGITS] if needs.logits else []
    names += [EMBEDDING] if needs.embedding else []
    return names + [MAP + name for name in needs.maps]
