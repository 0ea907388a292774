"""All methods by name: the built-in ones and those of imported code."""

import inspect
from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator, SerializeAsAny

from lpstudy.imported_names import resolve
from lpstudy.methods.at import AT
from lpstudy.methods.bp import BP
from lpstudy.methods.cc import CC
from lpstudy.methods.crd import CRD
from lpstudy.methods.declaration import NAME, MethodDeclaration, StandIn, declaration_of, stand_in
from lpstudy.methods.dist import DIST
from lpstudy.methods.dkd import DKD
from lpstudy.methods.fitnet import FitNet
from lpstudy.methods.fm import FM
from lpstudy.methods.kd import KD
from lpstudy.methods.lp import LP
from lpstudy.methods.method import Distillation
from lpstudy.methods.pkt import PKT
from lpstudy.methods.reviewkd import ReviewKD
from lpstudy.methods.rkd import RKD
from lpstudy.methods.simkd import SimKD
from lpstudy.methods.sp import SP
from lpstudy.methods.srrl import SRRL
from lpstudy.methods.wttm import WTTM

BUILT_IN: tuple[type[Distillation], ...] = (
    BP,
    KD,
    FM,
    DKD,
    DIST,
    WTTM,
    FitNet,
    AT,
    SP,
    PKT,
    RKD,
    CC,
    CRD,
    SRRL,
    SimKD,
    ReviewKD,
    LP,
)
"""In the order of the reports."""
METHODS: dict[str, type[Distillation]] = {model.model_fields["method"].default: model for model in BUILT_IN}
"""The class of each method by name."""


def register_method(model: type[Distillation]) -> None:
    """Add a method to METHODS under the default of its field `method`.

    Raises:
        ValueError: The class is abstract, has no name, a hyperparameter without a default or of a type that
            a study file has not, or the name is taken.
    """
    if inspect.isabstract(model):
        raise ValueError(
            f"{model.__name__}: is abstract: define {', '.join(sorted(model.__abstractmethods__))}"
        )
    name = model.model_fields["method"].default
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"{model.__name__}: needs a name, a letter and at most 31 more letters, digits and _:"
            ' method: Literal["name"] = "name"'
        )
    required = [key for key, field in model.model_fields.items() if field.is_required()]
    if required:
        raise ValueError(f"{model.__name__}.{required[0]}: needs a default")
    declaration_of(model)
    if not _is_free(name) and METHODS[name] is not model:
        raise ValueError(f"{model.__name__}: the method {name!r} exists already; choose another name")
    METHODS[name] = model


def declare_method(declaration: MethodDeclaration) -> None:
    """Let METHODS have a stand-in where the method's code is not imported.

    Raises:
        ValueError: A hyperparameter has the name of something else.
    """
    if _is_free(declaration.name):
        METHODS[declaration.name] = stand_in(declaration)


def method_at(reference: str) -> str:
    """The name in METHODS of the method class that `module:name` names.

    Raises:
        ValueError: Its code is not imported, or it is no method.
    """
    model = resolve(reference)
    if not isinstance(model, type) or not issubclass(model, Distillation):
        raise ValueError(f"{reference} is no method: must be a subclass of lpstudy.methods.Distillation")
    name: str = model.model_fields["method"].default
    if METHODS.get(name) is not model:
        raise ValueError(f"{reference} cannot be used: it is abstract, or not defined in the imported code")
    return name


def _is_free(name: str) -> bool:
    return name not in METHODS or issubclass(METHODS[name], StandIn)


def read_method(value: object) -> Distillation:
    """A method from its table, whose key `method` names it.

    Raises:
        ValueError: No method has this name, or a hyperparameter is wrong.
    """
    if isinstance(value, Distillation):
        return value
    name = value.get("method") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known are {', '.join(METHODS)}")
    return METHODS[name].model_validate(value)


Method = Annotated[SerializeAsAny[Distillation], PlainValidator(read_method)]
"""Any method; the field `method` discriminates between them."""
