"""`mnist-sgd benchmark`: the loader beside torch's, in one run on this machine."""

import argparse
import json

from mnist_sgd.cli.options.arguments import Subcommands, add_json_argument, positive_int, subcommand

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd benchmark                       as many images as the chapter has, batches of 256
  mnist-sgd benchmark --images 600000 --repeats 5
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "time the loader beside torch's DataLoader and a vectorised gather"
    parser = subcommand(commands, "benchmark", summary, EXAMPLES, run)
    parser.add_argument(
        "--images", type=positive_int, default=12_396, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=256, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--repeats",
        type=positive_int,
        default=9,
        help="turns of each way; the median counts (default: %(default)s)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print images a second of each way, and how many times that is the others'."""
    from mnist_sgd.loader.benchmark import loader_benchmark

    result = loader_benchmark(args.images, args.batch_size, args.repeats)
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"{args.images:,} images, batches of {args.batch_size}, shuffled, one thread of torch,")
    print(f"kernel {result['kernel']}, medians of {args.repeats} turns")
    print()
    print(f"{'':<44}{'million images/s':>18}{'ours is':>12}")
    ours = result["images_per_second"]["mnist_sgd, 1 thread"]
    for name, speed in result["images_per_second"].items():
        print(f"{name:<44}{speed / 1e6:>18.3f}{ours / speed:>10.1f} x")
    return 0
