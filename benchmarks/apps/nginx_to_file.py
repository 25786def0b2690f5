"""nginx receives the body in a file, and passes its path to this plain ASGI app, which renames the file. Files of the
same name are replaced.
"""

# /// script
# [tool.bench]
# title = "nginx to a file, renamed"
# limit = true
# servers = ["nginx"]
# body = "raw"
# serves = false
# ///

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

# For string.Template. The directory has to be on the file system of the destination.
NGINX_CONF = """
daemon off;
master_process on;
worker_processes 1;
user root;  # ignored, with a warning, unless root starts it
pid $directory/nginx.pid;
error_log stderr;

events {
    worker_connections 4096;
}

http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    keepalive_requests 1000000;

    upstream app {
        server 127.0.0.1:$upstream_port;
        keepalive 64;
        keepalive_requests 1000000;
    }

    server {
        listen 127.0.0.1:$port;
        client_max_body_size 0;
        client_body_buffer_size 1m;
        client_body_in_file_only on;

        proxy_http_version 1.1;
        proxy_request_buffering on;
        proxy_pass_request_body off;
        proxy_set_header Connection "";
        proxy_set_header Content-Length "";
        proxy_set_header X-File $$request_body_file;

        location / {
            proxy_pass http://app;
        }
    }
}
"""


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    seconds = 0.0
    if scope["path"] == "/ping":
        answer = "pong"
    else:
        if scope["path"] == "/sleep":
            await asyncio.sleep(3)
        request_headers = dict(scope["headers"])
        answer = os.path.basename(request_headers[b"x-name"].decode())
        start = time.perf_counter()
        os.rename(request_headers[b"x-file"], os.path.join(os.environb[b"DESTINATION"], answer.encode()))
        seconds = time.perf_counter() - start
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(answer)).encode()),
        (b"server-timing", f"save;dur={seconds * 1000:.3f}".encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})
