"""Compile the server's .proto files to messages.protoset, which the gRPC side reads at its start.

    python tools/make_proto.py

It needs grpcio-tools, any version: the form of a protoset, protobuf's FileDescriptorSet, does not
change. With --check nothing is written, and the exit code is 1 where the file is not up to date.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

FOLDER = Path(__file__).resolve().parents[1] / "serve" / "mnist_sgd_serve" / "rpc"
TARGET = FOLDER / "messages.protoset"


def compiled() -> bytes:
    """Compile the folder's .proto files, in the order of their names.

    Raises:
        SystemExit: protoc refuses them; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result")
        sources = sorted(path.name for path in FOLDER.glob("*.proto"))
        code = protoc.main(
            ["protoc", f"--proto_path={FOLDER}", f"--descriptor_set_out={result}", *sources]
        )
        if code:
            raise SystemExit(code)
        return result.read_bytes()


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    content = compiled()
    if check:
        same = TARGET.read_bytes() == content
        print(f"{TARGET.name} is {'up to date' if same else 'not what the .proto files say'}")
        return 0 if same else 1
    TARGET.write_bytes(content)
    print(f"{TARGET.name}: {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
