"""The sizes of the built-in families: which of depth and width a family has, and their values."""

from lpstudy.students import maxout, mobilenetv2, shufflenetv1, shufflenetv2, vgg

SIZE_KEYS: dict[str, tuple[str, ...]] = {
    "maxout": ("depth", "width"),
    "convnet": ("depth", "width"),
    "wrn": ("depth", "width"),
    "resnet": ("depth", "width"),
    "resnet50_small": (),
    "vgg": ("depth", "width"),
    "mobilenetv2": ("width",),
    "shufflenetv1": ("width",),
    "shufflenetv2": ("width",),
}
"""The sizes that a family without designs needs."""


def check_sizes(family: str, depth: int | None, width: int | None) -> None:
    """Refuse a depth or width that a built-in family has not.

    Raises:
        ValueError: A size is missing, or the family has no such one.
    """
    sizes = {"depth": depth, "width": width}
    keys = SIZE_KEYS[family]
    if any(sizes[key] is None for key in keys):
        raise ValueError(f"family {family} needs {'both ' * (len(keys) > 1)}{' and '.join(keys)}")
    for key, size in sizes.items():
        if size is not None and key not in keys:
            raise ValueError(f"family {family} has no {key} but got {key} = {size}")
    if depth is not None:
        _check_depth(family, depth)
    if width is not None:
        _check_width(family, width)


def _check_depth(family: str, depth: int) -> None:
    match family:
        case "wrn" if depth < 10 or depth % 6 != 4:
            raise ValueError(f"the depth of a wrn must be 6n + 4 (10, 16, 22, 28, ...) but got {depth}")
        case "resnet" if depth < 8 or depth % 6 != 2:
            raise ValueError(f"the depth of a resnet must be 6n + 2 (8, 14, 20, 26, ...) but got {depth}")
        case "vgg" if depth not in vgg.GROUPS:
            *depths, last = vgg.GROUPS
            raise ValueError(
                f"the depth of a vgg must be {', '.join(map(str, depths))} or {last} but got {depth}"
            )
        case "maxout" if depth < maxout.GROUPS:
            raise ValueError(
                f"the depth of a maxout net must be at least 3, a layer for each group, but got {depth}"
            )


def _check_width(family: str, width: int) -> None:
    """Refuse a width in percent that a family has not."""
    match family:
        case "mobilenetv2":
            low, high = mobilenetv2.NARROWEST, mobilenetv2.WIDEST
            is_known, values = low <= width <= high, f"{low} to {high}"
        case "shufflenetv1":
            step, high = shufflenetv1.WIDTH_STEP, shufflenetv1.WIDEST
            is_known, values = width % step == 0 and width <= high, f"{step}, {2 * step}, ..., {high}"
        case "shufflenetv2":
            is_known, values = width in shufflenetv2.CHANNELS, ", ".join(map(str, shufflenetv2.CHANNELS))
        case _:
            return
    if not is_known:
        raise ValueError(f"the width of a {family} is in percent ({values}) but got {width}")


IMAGENET_DEPTHS = (50, 152)
"""Depths 6n + 2 whose label would be that of another network."""


def label_of_size(family: str, depth: int | None, width: int | None) -> str:
    """The literature's name of a size, such as wrn-16-2 or resnet8x4; else the family with its sizes."""
    match family, depth, width:
        case "wrn", int(), int():
            return f"wrn-{depth}-{width}"
        case "resnet", int(), 1 if depth not in IMAGENET_DEPTHS:
            return f"resnet{depth}"
        case "resnet", int(), int() if width > 1:
            return f"resnet{depth}x{width}"
        case "vgg", int(), vgg.PUBLISHED_WIDTH:
            return f"vgg{depth}"
        case "shufflenetv1" | "shufflenetv2", None, 100:
            return family
    sizes = {"d": depth, "w": width}
    return "-".join([family, *(f"{key}{size}" for key, size in sizes.items() if size is not None)])
