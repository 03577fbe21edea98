"""The end of one of two servers as gRPC's clients see it: calls are answered or may be retried."""

import asyncio
import json
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import grpc.aio
import numpy as np
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from endings import CALL, METHOD
from server import launch, running
from waiting import PATIENCE

RETRIES = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": "inference.GRPCInferenceService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


async def call_with_retries(servers: list[str], end: asyncio.Event) -> Counter[str]:
    """Call two servers in turn until the end."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", RETRIES)]
    seen: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(f"ipv4:{','.join(servers)}", options) as channel:
        call = channel.unary_unary(METHOD)
        while not end.is_set():
            try:
                await call(CALL, timeout=PATIENCE)
                seen["OK"] += 1
            except grpc.aio.AioRpcError as error:
                seen[f"{error.code().name}: {error.details()}"] += 1
    return seen


async def call_until_unavailable(server: str) -> Counter[str]:
    """Call one server by Triton's client, without retries, until it is not available."""
    tensor = tritonclient.grpc.InferInput("image", [1, 28, 28], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 28, 28), np.uint8))
    own = [("grpc.use_local_subchannel_pool", 1)]
    seen: Counter[str] = Counter()
    async with tritonclient.grpc.aio.InferenceServerClient(server, channel_args=own) as client:
        while True:
            try:
                await client.infer("mnist_sgd", [tensor])
                seen["OK"] += 1
            except InferenceServerException as error:
                seen[str(error.status())] += 1
                return seen


def test_clients_that_retry_lose_no_call_when_one_of_two_servers_ends(model: Path) -> None:
    """Nor is one cancelled whose client does not retry."""
    options = ("--grpc-port", "0", "--shutdown-delay", "0.2")
    with ExitStack() as stack:
        ending = stack.enter_context(launch(model, *options))
        staying = stack.enter_context(running(model, "--grpc-port", "0"))
        ending.wait_until_ready()
        servers = [server.wait_for("ready")["grpc"] for server in (ending, staying)]

        async def check() -> None:
            end = asyncio.Event()
            retrying = [asyncio.create_task(call_with_retries(servers, end)) for _ in range(4)]
            others = [asyncio.create_task(call_until_unavailable(servers[0])) for _ in range(4)]
            await asyncio.sleep(0.3)
            ending.process.send_signal(signal.SIGTERM)
            outcomes = sum(await asyncio.gather(*others), Counter())
            assert set(outcomes) == {"OK", "StatusCode.UNAVAILABLE"}
            assert await asyncio.to_thread(ending.process.wait, PATIENCE) == 0
            end.set()
            assert set(sum(await asyncio.gather(*retrying), Counter())) == {"OK"}

        asyncio.run(check())
