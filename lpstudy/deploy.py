"""`lpstudy deploy NAME`: write a study's best student as one folder of files that run elsewhere."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lpstudy import tracking
from lpstudy.command import arguments as flags
from lpstudy.command.deployed_folder import check_target, new_folder
from lpstudy.command.exits import DONE, BadInputError, FaultError, errors_as_bad_input, exit_code_of
from lpstudy.command.stored_study import stored_study
from lpstudy.data import load
from lpstudy.deployment.config import CARD, INT8, Deployment, Origin
from lpstudy.deployment.onnx_file import check_packages
from lpstudy.deployment.package import Choice, write_package
from lpstudy.disk import write_atomically
from lpstudy.rendering import cell_text
from lpstudy.rendering.model_card import CardFacts, model_card
from lpstudy.space import import_files
from lpstudy.students import check_code
from lpstudy.students.timm import TimmNet
from lpstudy.tables import StudyResults
from lpstudy.tables.arms import ArmResult, arm_results
from lpstudy.tables.choice import MEDIAN_RULE, choose_arm, choose_final
from lpstudy.terminal import say, show, warn


def parser() -> ArgumentParser:
    """The command's flags."""
    parser = flags.parser(
        "deploy",
        "Write a study's best student as one folder: weights, ONNX, torch.export, model card, latency.",
    )
    parser.add_argument("study", help="name of the study")
    parser.add_argument("--method", metavar="M", help="table of [methods] (default: the best on validation)")
    parser.add_argument("--student", metavar="S", help="label of a student (default: the best on validation)")
    parser.add_argument("--under-macs", type=flags.whole(1), metavar="N", help="most MACs of the student")
    parser.add_argument(
        "--seed", type=flags.whole(0), metavar="N", help=f"seed of the final (default: {MEDIAN_RULE})"
    )
    parser.add_argument("--out", type=flags.path, metavar="DIR", help="folder (default: ./deployed/NAME)")
    parser.add_argument(
        "--int8", action="store_true", help="also quantise it, calibrated on training images, and test that"
    )
    parser.add_argument(
        "--register",
        action="store_true",
        help="also register it in MLflow as lpstudy.NAME with the alias best",
    )
    flags.add_data_root(parser)
    flags.add_imports(parser)
    flags.add_storage(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    return exit_code_of("deploy", lambda: _deploy(args))


def _deploy(args: Namespace) -> int:
    with errors_as_bad_input():
        check_packages()
        import_files(args.imports)
        study = stored_study(args.storage, args.ledger, args.study)
        name = study.spec.name
        target = args.out or Path("deployed") / name
        check_target(target)
        client = tracking.connect() if args.register else None
        result = _choose(study.results, args)
        final = choose_final(result, args.seed)
        check_code(str(final["family"]), final["design"])
        key = f"{result.arm.name}/final-{final['trial']}-seed-{final['seed']}"
        model = study.load_weights(key)
        data = load(study.spec.data, root=args.data_root, progress=True)
        facts = study.facts_on(data)
        _report(f"{key} of study {name}")
        origin = Origin(
            study=name,
            run=key,
            arm_rule=_arm_rule(args),
            seed=int(final["seed"]),
            seed_rule=MEDIAN_RULE if args.seed is None else "named by --seed",
        )
        with new_folder(target) as folder:
            package = write_package(folder, Choice(model, origin, args.int8), data, _report)
            results = arm_results(facts, study.results.runs)
            card = CardFacts(
                study=facts,
                runs=study.results.runs,
                results=results,
                result=_choose(StudyResults(facts, study.results.runs, study.results.curves), args),
                final=final,
                package=package,
                library="timm" if isinstance(model.network, TimmNet) else "lpstudy",
            )
            write_atomically(folder / CARD, model_card(card).encode())
    _show(target, package.deployment, card.result)
    if client is not None:
        try:
            shape = model.description.input_shape
            model_name, version = tracking.register_folder(client, name, key, target, shape)
        except tracking.MLFLOW_ERRORS as error:
            raise FaultError(f"MLflow did not register it: {tracking.reason(error)}") from None
        except ValueError as error:
            raise BadInputError(str(error)) from None
        show(f"MLflow  {model_name}, version {version}, alias {tracking.ALIAS}")
    return DONE


def _choose(results: StudyResults, args: Namespace) -> ArmResult:
    return choose_arm(
        arm_results(results.facts, results.runs),
        method=args.method,
        student=args.student,
        under_macs=args.under_macs,
    )


def _arm_rule(args: Namespace) -> str:
    """How `_choose` chooses, in words."""
    limits = [
        f"{flag} {value}" for flag in ("method", "student") if (value := getattr(args, flag)) is not None
    ]
    limits += [f"at most {args.under_macs:,} MACs"] if args.under_macs is not None else []
    among = f" among those of {', '.join(limits)}" if limits else ""
    return f"the highest mean validation accuracy of its finals{among}"


def _report(line: str) -> None:
    """Print a line of progress."""
    say(f"deploy  {line}")


def _show(target: Path, deployment: Deployment, result: ArmResult) -> None:
    """Print what was written, and warnings about files that were not."""
    origin = deployment.origin
    warn(*(f"no {name}: {why}" for name, why in deployment.problems.items()))
    show(
        f"{target}: {origin.run} ({origin.seed_rule})",
        f"test accuracy {deployment.test_accuracy:.2f} % of {deployment.test_images:,} images;"
        f" over its {cell_text.seeds(result.accuracy.n)} {cell_text.accuracy(result.accuracy)} %",
    )
    for name, check in deployment.files.items():
        accuracy = f", test accuracy {check.test_accuracy:.2f} %" if name == INT8 else ""
        show(
            f"{name:<16}{check.bytes / 1000:>10,.1f} kB, the same class as torch on {check.same_top1:,} of"
            f" {check.images:,} images, logits within {check.largest_difference:.2g}{accuracy}"
        )


if __name__ == "__main__":
    sys.exit(main())
