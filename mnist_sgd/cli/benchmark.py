"""`mnist-sgd benchmark`: compare the loader with torch's on this machine."""

import argparse
import json

from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, subcommand, whole_number

EXAMPLES = """\
  mnist-sgd benchmark                       the size of the chapter's data, batches of 256
  mnist-sgd benchmark --images 600000 --repeats 5
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "compare the loader's speed with torch's DataLoader and a vectorised gather"
    parser = subcommand(commands, "benchmark", summary, EXAMPLES, run)
    measurement = parser.add_argument_group("measurement")
    for name, default, text in (
        ("--images", 12_396, "images in the data set"),
        ("--batch-size", 256, "images in a batch"),
        ("--repeats", 9, "rounds; the medians are shown"),
    ):
        measurement.add_argument(
            name,
            type=whole_number,
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    add_json_option(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Print the images per second of each loader, and how many times faster ours is."""
    from mnist_sgd.loader.benchmark import loader_benchmark

    result = loader_benchmark(args.images, args.batch_size, args.repeats)
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"{args.images:,} images, batches of {args.batch_size}, shuffled, one torch thread,")
    print(f"kernel {result['kernel']}, medians of {args.repeats} rounds")
    print()
    print(f"{'':<44}{'million images/s':>18}  speed of mnist_sgd, 1 thread")
    ours = result["images_per_second"]["mnist_sgd, 1 thread"]
    for name, speed in result["images_per_second"].items():
        ratio = "" if name.startswith("mnist_sgd") else f"  {ours / speed:.1f} times as fast"
        print(f"{name:<44}{speed / 1e6:>18.3f}{ratio}")
    return 0
