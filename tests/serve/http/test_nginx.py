"""Debian's nginx in front of the server, over TCP and over a Unix socket."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from pictures import encode, stroke
from server import INFER, RAW, launch, reserved_port, running
from waiting import PATIENCE, wait_until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

CONFIGURATION = """\
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 16m;
  gzip on;
  gzip_types *;
  upstream digits {{ {upstreams} keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://digits;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_next_upstream error timeout http_503 non_idempotent;
    }}
  }}
}}
"""


@contextmanager
def proxy(folder: Path, *upstreams: str) -> Iterator[str]:
    """Run nginx in front of these upstreams, and give its address."""
    servers = " ".join(f"server {one} max_fails=0;" for one in upstreams)
    with reserved_port() as port:
        file = folder / "nginx.conf"
        # Else nginx, started by root, serves as a user who may not enter the folder.
        user = "user root root;" if os.geteuid() == 0 else ""
        file.write_text(
            CONFIGURATION.format(folder=folder, upstreams=servers, port=port, user=user)
        )
    process = subprocess.Popen([str(NGINX), "-p", folder, "-e", folder / "errors", "-c", file])
    try:
        wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_everything_works_behind_nginx(model: Path, tmp_path: Path, over: str) -> None:
    path = tmp_path / "server.sock"
    options = ("--unix-socket", str(path)) if over == "unix" else ()
    trusted = "unix" if over == "unix" else "127.0.0.1"
    with ExitStack() as stack:
        server = stack.enter_context(running(model, *options, "--trusted-proxy", trusted))
        upstream = f"unix:{path}" if over == "unix" else f"{server.host}:{server.port}"
        address = stack.enter_context(proxy(tmp_path, upstream))
        http = stack.enter_context(httpx.Client(base_url=address, timeout=PATIENCE))
        for size in (1, 4096):  # the large one is kept in a file by nginx
            assert http.post(INFER, content=bytes(784 * size), headers=RAW).status_code == 200
        expecting = RAW | {"Expect": "100-continue"}
        assert http.post(INFER, content=bytes(784), headers=expecting).status_code == 200
        own = {"Origin": address}
        answer = http.post("/predict", files={"image": encode(stroke(1))}, headers=own)
        assert (answer.status_code, answer.json()["label"] in "73") == (200, True)
        page = http.get("/", headers={"Accept-Encoding": "gzip"})
        assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
        head = http.head("/")
        assert (head.status_code, head.content) == (200, b"")
        tag = page.headers["etag"].removeprefix("W/")
        for tags in (tag, f"W/{tag}", f'"other", {tag}'):
            assert http.get("/", headers={"If-None-Match": tags}).status_code == 304


def test_no_request_fails_while_one_of_two_servers_is_restarted(
    model: Path, tmp_path: Path
) -> None:
    seen: Counter[int] = Counter()
    end = threading.Event()
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        staying = stack.enter_context(running(model))
        address = stack.enter_context(
            proxy(tmp_path, f"127.0.0.1:{port}", f"127.0.0.1:{staying.port}")
        )

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=PATIENCE) as http:
                while not end.is_set():
                    seen[http.post(INFER, content=bytes(784), headers=RAW).status_code] += 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                with launch(model, "--port", str(port), "--shutdown-delay=0.2") as server:
                    server.wait_until_ready()
                    time.sleep(0.6)  # under load
                    asked = 'mnist_sgd_requests_total{route="infer",status="200"}'
                    wait_until(lambda: server.metric(asked) > 10)  # noqa: B023
                    assert server.stop(signal.SIGTERM) == 0, server.log
                    assert server.events("stopped")
        finally:
            end.set()
            for thread in threads:
                thread.join()
    assert set(seen) == {200}
    assert seen[200] > 50
