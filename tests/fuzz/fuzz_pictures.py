"""Searches for pictures that cost more than a server allows, by changing headers of ordinary ones.

    python tests/fuzz/fuzz_pictures.py FOUND [--seconds 600] [--seed 1]

Each input is read in a forked process under the limits of `http.decoder`. One that takes
more than 1 s of processor time or 128 MiB of memory all the same breaks the server's promise: it is
kept in the folder FOUND, and the exit code is 1. What costs more than all before it, of its kind,
is changed further, so the search climbs. At the end it says what the costliest of each format took,
and how many were ended by the limit on time: bounds on what headers ask for should be tightened
where these are many.
"""

import argparse
import os
import random
import signal
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork has no other threads

sys.path.insert(0, os.fspath(Path(__file__).parents[1] / "support"))

import numpy as np
from PIL import Image

from mnist_sgd_serve.http import decoder
from mnist_sgd_serve.http.picture_request import PictureLimits, read_picture
from mnist_sgd_serve.protocol.errors import RequestError
from mnist_sgd_serve.settings import Settings
from picture_bombs import MIB, chunk, drawn, png, rows, saved, scans

SETTINGS = Settings(model=Path("model.onnx"))
LIMITS = PictureLimits(
    SETTINGS.max_body, SETTINGS.max_pixels, SETTINGS.decode_memory, SETTINGS.decode_seconds
)
MOST_SECONDS, MOST_BYTES = 1.0, 128 * MIB

NUMBERS = [0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1000, 4000, 5000, 16383, 32767, 65535]
NUMBERS += [2**16, 2**20, 25_000_000, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1]

WIDE = "\U0001f600".encode()
"""A character for whose sake Python keeps four bytes for each of its string."""

HEADER = 1024
"""Where most changes are made."""


@dataclass
class Cost:
    """What reading took: processor seconds, bytes, how it ended."""

    seconds: float
    bytes: int
    end: str


def seeds() -> list[tuple[str, bytes]]:
    """Ordinary pictures of every format and many kinds, with the names of their formats."""
    grey = Image.fromarray(drawn(60, 44))
    deep = Image.fromarray(drawn(60, 44).astype(np.uint16) * 257)
    moving: dict[str, Any] = {"save_all": True, "append_images": [Image.new("L", (44, 60))] * 2}
    files = [("PNG", saved(grey.convert(mode), "PNG")) for mode in ("1", "L", "P", "RGB", "RGBA")]
    files += [("PNG", saved(deep, "PNG")), ("PNG", saved(grey, "PNG", **moving))]
    files += [("PNG", png(chunk(b"IDAT", rows(bytes(61), 60)), size=(60, 60), lace=1))]
    for mode in ("L", "RGB", "CMYK"):
        image = grey.convert(mode)
        files += [("JPEG", saved(image, "JPEG", subsampling=0))]
        files += [("JPEG", saved(image, "JPEG", progressive=True))]
    files += [("JPEG", scans(5, 900).body), ("JPEG", saved(grey, "JPEG", restart_marker_blocks=1))]
    files += [("GIF", saved(grey, "GIF")), ("GIF", saved(grey, "GIF", disposal=2, **moving))]
    files += [("GIF", saved(grey, "GIF", transparency=0, comment=b"x" * 600))]
    kinds: list[dict[str, Any]] = [{}, {"lossless": True}, moving]
    for options in kinds:
        files += [("WebP", saved(grey.convert("RGBA"), "WEBP", **options))]
    files += [("BMP", saved(grey.convert(mode), "BMP")) for mode in ("1", "L", "P", "RGB", "RGBA")]
    return [*files, ("BMP", rle())]


def rle() -> bytes:
    """A BMP of runs."""
    palette, pairs = bytes(1024), (b"\x2c\x80\0\0" * 60) + b"\0\1"
    head = b"BM" + struct.pack("<IHHI", 1078 + len(pairs), 0, 0, 1078)
    size = struct.pack("<IiiHHIIiiII", 40, 44, 60, 1, 8, 1, len(pairs), 0, 0, 256, 0)
    return head + size + palette + pairs


# Changes. Each takes a file and gives another one.


def number(content: bytes, chance: random.Random) -> bytes:
    """Another number in the header, of one to four bytes of either order."""
    value, size = chance.choice(NUMBERS), chance.choice([1, 2, 2, 3, 4, 4])
    fitting: int = value % 256**size
    code = fitting.to_bytes(size, "big" if chance.random() < 0.5 else "little")
    at = chance.randrange(min(len(content), HEADER))
    return content[:at] + code + content[at + size :]


def repeat(content: bytes, chance: random.Random) -> bytes:
    """A piece again and again, up to what a body may have."""
    at = chance.randrange(len(content))
    piece = content[at : at + chance.choice([1, 2, 4, 12, 40, 300, 5000])]
    size = chance.choice([10, 1000, 100_000, MIB, 12 * MIB])
    return content[:at] + piece * (size // len(piece) + 1) + content[at:]


def fill(content: bytes, chance: random.Random) -> bytes:
    """A long run of one byte."""
    at = chance.randrange(min(len(content), HEADER))
    run = chance.choice([b"\0", b"\1", b"\xff", b"\x80"]) * chance.choice([1000, MIB, 12 * MIB])
    return content[:at] + run + content[at:]


def flip(content: bytes, chance: random.Random) -> bytes:
    """Some other bytes anywhere."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 2, 8])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def drop(content: bytes, chance: random.Random) -> bytes:
    """A piece less."""
    at = chance.randrange(len(content))
    return content[:at] + content[at + chance.choice([1, 4, 50]) :]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """The kinds and data of a PNG's chunks, as far as it has them."""
    found, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def renew(content: bytes, chance: random.Random) -> bytes:
    """A PNG with another header and enough pixels for it, or other chunks, all checks right."""
    parts = chunks(content)
    if chance.random() < 0.5:
        width, height = chance.choice([(5000, 5000), (65535, 380), (380, 65535), (1, 10**6)])
        depth, colour = chance.choice([(8, 0), (16, 0), (8, 2), (16, 2), (8, 6), (16, 6), (8, 3)])
        samples = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
        line = bytes([chance.randrange(5)]) + chance.randbytes(4) * (samples * depth // 8)
        line = (line * (width + 1))[: width * samples * depth // 8 + 1]
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, chance.randrange(2))
        parts = [(b"IHDR", header), (b"PLTE", bytes(768))] if colour == 3 else [(b"IHDR", header)]
        parts += [(b"IDAT", rows(line, height))]
    kind = chance.choice([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"IDAT"])
    text = bytes(chance.choice([0, 1000, MIB - 9, 10 * MIB])) + chance.choice([b"", WIDE])
    start = chance.choice(
        [b"", b"XML:com.adobe.xmp\0\1\0\0\0", b"Raw profile type exif\0\0", b"a\0\0"]
    )
    data = start + zlib.compress(text)
    if chance.random() < 0.2:
        data = b"XML:com.adobe.xmp\0\0\0\0\0" + text
    most = LIMITS.body // (len(data) + 12) + 1  # the rest would be cut off
    parts[1:1] = [(kind, data)] * min(most, chance.choice([0, 1, 60, 3000]))
    whole = b"".join(chunk(name, part) for name, part in [*parts, (b"IEND", b"")])
    return content[:8] + whole


def enlarge(content: bytes, chance: random.Random) -> bytes:
    """A JPEG, GIF, WebP or BMP that says that it is large."""
    side = struct.pack(chance.choice(["<HH", ">HH"]), *chance.choice([(5000, 5000), (65500, 380)]))
    for start in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"):
        if start in content:
            at = content.index(start) + 5
            return content[:at] + side + content[at + 4 :]
    at = 6 if content[:3] == b"GIF" else chance.choice([18, 22, 24, 26])
    return content[:at] + side + content[at + 4 :]


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [number] * 4
CHANGES += [repeat] * 3 + [fill, flip, drop, enlarge, enlarge]


def changed(kind: str, content: bytes, chance: random.Random) -> bytes:
    """A file after one to four changes, cut to what a server takes."""
    for _ in range(chance.choice([1, 1, 2, 3, 4])):
        change = renew if kind == "PNG" and chance.random() < 0.3 else chance.choice(CHANGES)
        content = change(content, chance) or content
    return content[: LIMITS.body]


def cost(content: bytes) -> Cost:
    """Read a picture in a forked process, under the limits of a decoder."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            decoder._limit_memory(LIMITS.memory + decoder.MARGIN)
            signal.setitimer(signal.ITIMER_PROF, LIMITS.seconds)
            read_picture(content, None, "", "mnist", LIMITS)
            code = 0
        except (RequestError, MemoryError):
            code = 1
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    end = {0: "read", 1: "refused", -signal.SIGPROF: "ended"}.get(ended, f"code {ended}")
    with open("/proc/self/statm") as statm:
        ours = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Cost(used.ru_utime + used.ru_stime, max(0, 1024 * used.ru_maxrss - ours), end)


def main() -> None:
    """Read the command line, search, and say what was found."""
    parser = argparse.ArgumentParser(description="Search for pictures that cost too much.")
    parser.add_argument("found", type=Path, help="a folder for what breaks the promise")
    parser.add_argument("--seconds", type=float, default=600, help="how long (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (1)")
    args = parser.parse_args()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    chance, end = random.Random(args.seed), time.monotonic() + args.seconds
    # Packed, as what a process holds makes its forks slow.
    pool = [(kind, zlib.compress(content), cost(content)) for kind, content in seeds()]
    ends: Counter[tuple[str, str]] = Counter()
    most = {kind: Cost(0, 0, "") for kind, _, _ in pool}
    broken = tried = 0
    while time.monotonic() < end:
        place = chance.randrange(len(pool))
        kind, packed, before = pool[place]
        content = changed(kind, zlib.decompress(packed), chance)
        spent = cost(content)
        tried += 1
        ends[kind, spent.end] += 1
        best = most[kind]
        best.seconds = max(best.seconds, spent.seconds)
        best.bytes = max(best.bytes, spent.bytes)
        if spent.seconds > MOST_SECONDS or spent.bytes > MOST_BYTES or "code" in spent.end:
            broken += 1
            args.found.mkdir(parents=True, exist_ok=True)
            name = f"{kind}-{spent.seconds:.2f}s-{spent.bytes // MIB}MiB-{spent.end}-{tried}"
            (args.found / name.replace(" ", "")).write_bytes(content)
        costlier = spent.seconds > 1.2 * before.seconds or spent.bytes > 1.2 * before.bytes + MIB
        if spent.end == "read" and costlier and len(pool) < 300:
            pool.append((kind, zlib.compress(content), spent))
        elif spent.end == "read" and costlier:
            pool[place] = (kind, zlib.compress(content), spent)
    used = os.times()
    print(f"{tried} inputs, {used.children_user + used.children_system:.0f} s of processor time")
    for kind, best in most.items():
        counts = ", ".join(
            f"{count} {how}" for (of, how), count in sorted(ends.items()) if of == kind
        )
        print(f"{kind}: {counts}; at most {best.seconds:.2f} s, {best.bytes / MIB:.0f} MiB")
    print(f"{broken} broke the promise" + (f", they are in {args.found}" if broken else ""))
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
