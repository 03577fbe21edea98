"""The server beside its peers: requests and images a second, latency, start, memory.

    python benchmarks/serving.py --install DIR          # peers, each in its own environment
    python benchmarks/serving.py MODEL --peers DIR      # all of them, about 20 minutes
    python benchmarks/serving.py MODEL --quick [--peers DIR]    # three of them, 2 minutes

The servers take turns over several rounds. In its turn each is started anew on loopback, must give
the right answer for one image and for 256, is warmed up and then loaded by wrk, which shares the
processors with it: single images over 1, 16 and 64 connections, and batches of 256 over 16.
Prints the medians over the rounds and the ratios to the goals; exits with 1 if a goal is
missed or ours fails, with 2 if it cannot begin.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from harness.goals import all_met, goals_text
from harness.machine import machine_text
from servers.bench import Bench
from servers.report import Result, goals, table
from servers.servers import EMPTY, FASTAPI, OURS, SERVERS, Server, install

from mnist_sgd_serve import ArtifactError

LOOP = "session.run in a loop"
QUICK = [OURS, EMPTY, FASTAPI]


def run(bench: Bench, servers: list[Server], rounds: int) -> dict[str, Result]:
    """Let the servers take turns; one with a fault is not tried again."""
    results = {server.name: Result(server.name, server.payload.name, {}) for server in servers}
    results[LOOP] = Result(LOOP, "no HTTP", {})
    for number in range(rounds):
        results[LOOP].turns[number] = bench.loop()
        for server in servers:
            result = results[server.name]
            if result.fault:
                continue
            start = time.monotonic()
            try:
                result.turns[number] = bench.turn(server)
            except (FileNotFoundError, RuntimeError) as error:
                result.fault = str(error)
            said = result.fault or f"{result.turns[number]['rate_16']:,.0f} requests/s at 16"
            took = time.monotonic() - start
            print(f"round {number + 1}, {server.name}: {said} ({took:.0f} s)", file=sys.stderr)
    return results


def machine(results: dict[str, Result]) -> str:
    """Say what it was measured on, and what else ran there."""
    others = [turn["others"] for result in results.values() for turn in result.turns.values()]
    return f"{machine_text(others)}; load average at the end {os.getloadavg()[0]:.1f}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the server beside its peers.", epilog="See benchmarks/README.md."
    )
    parser.add_argument("model", type=Path, nargs="?", help="the .onnx file")
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers, and end")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where they were installed")
    parser.add_argument("--quick", action="store_true", help="three servers in short")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=int, default=None, help="of each measurement; default: 3, quick: 1"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="servers, by a part of the name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    if args.install is None and args.model is None:
        parser.error("a MODEL is needed, or --install DIR")
    return args


def main() -> int:
    """Measure, print, and say whether all goals are met."""
    args = parse()
    chosen = QUICK if args.quick else list(SERVERS)
    if args.only:
        chosen = [s for s in chosen if s is OURS or any(part in s.name for part in args.only)]
    if args.install is not None:
        failed = install(args.install, chosen)
        for name, reason in failed.items():
            print(f"{name}: {reason}", file=sys.stderr)
        return 1 if failed else 0
    if shutil.which("wrk") is None:
        print("wrk is needed: apt-get install wrk", file=sys.stderr)
        return 2
    try:
        bench = Bench(args.model, args.peers, args.seconds or (1 if args.quick else 3))
    except ArtifactError as error:
        print(error, file=sys.stderr)
        return 2
    results = run(bench, chosen, args.rounds)
    said, judged = machine(results), goals(results)
    verdict = goals_text("ours against theirs, round by round", judged)
    print(f"{table(results)}\n\n{verdict}\n\n{said}")
    if args.json is not None:
        figures = {name: vars(result) for name, result in results.items()}
        args.json.write_text(json.dumps({"machine": said, "servers": figures}, indent=1))
    if results[OURS.name].fault or results[OURS.name].median("failed"):
        return 1
    return 0 if all_met(judged) else 1


if __name__ == "__main__":
    sys.exit(main())
