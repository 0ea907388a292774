"""Checks that every method must pass, lpstudy's own and yours.

    from lpstudy.testing import check_method

    def test_my_method() -> None:
        check_method(MyMethod)

No check needs a GPU, data or pytest; all of them take about a second.
"""

from lpstudy.methods import Distillation
from lpstudy.outputs import Network
from lpstudy.testing.method_case import MethodCase, SmallNetwork, make_case
from lpstudy.testing.method_checks import CHECKS

__all__ = ["CHECKS", "MethodCase", "SmallNetwork", "check_method", "make_case"]


def check_method(
    method: Distillation | type[Distillation],
    *,
    student: Network | None = None,
    teacher: Network | None = None,
) -> None:
    """Check that a method can be trained in a study.

    Args:
        method: The method, or its class for that with all defaults.
        student: Takes images of shape (m, 3, 8, 8), gives 3 logits, has no batch normalisation; by default a
            `SmallNetwork` with maps of 4 channels.
        teacher: Likewise; by default a `SmallNetwork` with maps of the same size and 6 channels.

    Raises:
        AssertionError: A check fails; the message names it.
        ValueError: The networks have no layer of a name in the method's hyperparameters.
    """
    one = method if isinstance(method, Distillation) else method.model_validate({})
    for name, check in CHECKS.items():
        mine = SmallNetwork(4, 6, seed=1) if student is None else student
        theirs = SmallNetwork(6, 11, seed=2) if teacher is None else teacher
        for network in (mine, theirs):
            network.float().zero_grad(set_to_none=True)
        try:
            check(make_case(one, mine, theirs))
        except AssertionError as error:
            raise AssertionError(f"{type(one).__name__}: {name}: {error}") from error
