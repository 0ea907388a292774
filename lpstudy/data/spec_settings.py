"""What the [data] table says of preprocessing, and the hash of its settings."""

import hashlib
import json

from lpstudy.data.mixing import Mixing
from lpstudy.data.pixel_statistics import Statistics
from lpstudy.data.policies import Policy
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.resized_crop import BoxRange
from lpstudy.data.spec import DataSpec


def preprocessing_of(spec: DataSpec, statistics: Statistics) -> tuple[Preprocessing, Preprocessing]:
    """The preprocessing without augmentation, and with it."""
    mean, std = statistics.mean, statistics.std
    views = Preprocessing(
        mean,
        std,
        spec.pad,
        spec.flip,
        spec.split_seed,
        resized_crop=BoxRange(spec.crop_scale, spec.crop_ratio) if spec.crop == "resized" else None,
        policy=policy_of(spec),
        erasing=spec.erase,
        mixing=Mixing(spec.mixup, spec.cutmix) if spec.mixes else None,
    )
    return Preprocessing(mean, std), views


def policy_of(spec: DataSpec) -> Policy | None:
    """The operations on colours and positions; None where there are none."""
    match spec.augment:
        case "none":
            return None
        case "randaugment":
            return Policy(spec.augment, spec.operation_count, spec.operation_magnitude)
        case "trivialaugment":
            return Policy(spec.augment, 1, None)


def fingerprint_of(spec: DataSpec, statistics: Statistics, content: str, official: int) -> str:
    """SHA-256 of the images' content and of the settings of pixels, labels and split, in hexadecimal.

    With an official validation part, of `official` images, the share that would be cut has no effect.
    """
    share = f"official {official}" if official else spec.validation_fraction
    settings: list[object] = [share, spec.split_seed, spec.labels_per_class]
    settings += [spec.pad, spec.flip]
    if spec.unlabelled is not None:
        settings += [spec.unlabelled_words, spec.labelled_share]
    if spec.crop == "resized":
        settings += ["crop", spec.crop_scale, spec.crop_ratio]
    if (policy := policy_of(spec)) is not None:
        settings += ["augment", policy.name, policy.operations, policy.magnitude]
    for key in ("erase", "resize", "mixup", "cutmix"):
        settings += [key, value] if (value := getattr(spec, key)) else []
    table = [content, statistics.mean, statistics.std, *settings]
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()
