"""An epoch of the Learner beside a plain loop of torch and beside other frameworks.

    python benchmarks/training.py --install DIR     # the frameworks that are missing here
    python benchmarks/training.py [--peers DIR]     # about 2 minutes

Every contender trains the linear model on the bundled digits, 12,396 and 2,038 of them, in batches
of 256, at a rate of 1, in the order of the files (as `mnist-sgd train` does), from the same
weights, and validates after each epoch with the loss and the accuracy. The contenders take turns;
in its turn one trains anew for 24 epochs, of which the last 20 count. Prints the medians over the
turns and the ratios to the goals; exits with 1 if a goal is missed or ours fails.
"""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from harness.environments import install_missing
from harness.goals import all_met, goals_text
from harness.machine import busy, machine_text
from harness.workers import Worker, WorkerError
from trainers.contenders import CONTENDERS, OURS, STAGES, Contender
from trainers.report import goals, stages_text, table
from trainers.turns import Result, take, training

ACCURACY_TOLERANCE = 0.002


def measure(
    contenders: list[Contender], peers: Path | None, turns: int, threads: int
) -> tuple[dict[str, Result], dict[str, float], list[float]]:
    """Let the contenders take turns: results, our stages, and what else ran; a fault ends one."""
    results = {contender.name: Result(contender.name) for contender in contenders}
    others = []
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for contender in contenders:
            try:
                workers[contender.name] = stack.enter_context(training(contender, peers, threads))
                take(workers[contender.name])  # imports, data and first calls; it does not count
            except (FileNotFoundError, WorkerError) as error:
                results[contender.name].fault = str(error)
        for number in range(turns):
            others.append(busy())
            for contender in contenders:
                if not results[contender.name].fault:
                    take_turn(contender, workers[contender.name], results)
            print(f"turn {number + 1} of {turns}", file=sys.stderr)
        stages = take_stages(peers, threads)
    return results, stages, others


def take_turn(contender: Contender, worker: Worker, results: dict[str, Result]) -> None:
    """One turn of a contender; it must come to the accuracy of ours, which is the first."""
    result = results[contender.name]
    try:
        turn = take(worker)
    except WorkerError as error:
        result.fault = str(error)
        return
    result.epochs_ms.append(turn.epoch_ms)
    result.cpus_ms.append(turn.cpu_ms)
    result.version = turn.version if contender.package else ""
    if not contender.trains:
        return
    result.accuracy = turn.accuracy
    expected = results[OURS.name].accuracy
    if expected is None or abs(turn.accuracy - expected) > ACCURACY_TOLERANCE:
        result.fault = f"its accuracy is {turn.accuracy:.4f}, ours {expected}"


def take_stages(peers: Path | None, threads: int) -> dict[str, float]:
    """Where our time goes, after a turn to warm up."""
    with training(STAGES, peers, threads) as worker:
        take(worker)
        return take(worker).stages


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure an epoch of the Learner beside its peers.",
        epilog="See benchmarks/README.md.",
    )
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers, and end")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where they were installed")
    parser.add_argument("--turns", type=int, default=9, help="of each contender; default: 9")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: 1")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="contenders, by a part of the name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and say whether all goals are met."""
    args = parse()
    contenders = [
        w for w in CONTENDERS if w is OURS or any(part in w.name for part in args.only or [""])
    ]
    if args.install is not None:
        failed = install_missing(
            args.install, {contender.package for contender in contenders if contender.package}
        )
        for name, reason in failed.items():
            print(f"{name}: {reason}", file=sys.stderr)
        return 1 if failed else 0
    results, stages, others = measure(contenders, args.peers, args.turns, args.threads)
    said = machine_text(others, f"torch {version('torch')}", f"its threads: {args.threads}")
    judged = goals(results)
    verdict = goals_text("our epoch / theirs, turn by turn", judged)
    print(f"{table(results)}\n\n{verdict}\n\n{stages_text(results, stages)}\n\n{said}")
    if args.json is not None:
        contenders_json = {name: asdict(result) for name, result in results.items()}
        figures = {"machine": said, "contenders": contenders_json, "stages_us": stages}
        args.json.write_text(json.dumps(figures, indent=1))
    return 0 if not results[OURS.name].fault and all_met(judged) else 1


if __name__ == "__main__":
    sys.exit(main())
