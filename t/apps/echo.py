"""A web application for tests: says what it was asked, and misbehaves on
demand.  usage: echo.py PORT [NAME]"""

import hashlib
import json
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

PORT = int(sys.argv[1])
NAME = sys.argv[2] if len(sys.argv) > 2 else ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body_chunks(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline().strip():
                        pass
                    return
                left = size
                while left:
                    data = self.rfile.read(min(left, 262144))
                    if not data:
                        return
                    left -= len(data)
                    yield data
                self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                data = self.rfile.read(min(left, 262144))
                if not data:
                    return
                left -= len(data)
                yield data

    def answer(self, status, body, headers=()):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        route = url.path.strip("/").split("/")[0]
        digest, size = hashlib.sha256(), 0

        for data in self.body_chunks():
            digest.update(data)
            size += len(data)

        if route == "header":           # ?n=NAME&v=VALUE[&status=N]
            self.answer(int(query.get("status", 200)), NAME,
                        [(query["n"], query["v"])])
        elif route == "raw":            # ?hex=BYTES: a response of any bytes
            self.close_connection = True
            self.wfile.write(bytes.fromhex(query["hex"]))
        elif route == "big":            # ?n=BYTES
            left, block = int(query["n"]), bytes(range(256)) * 1024
            self.send_response(200)
            self.send_header("Content-Length", str(left))
            self.end_headers()
            while left:
                data = block[:min(left, len(block))]
                self.wfile.write(data)
                left -= len(data)
        elif route == "sse":            # ?n=COUNT&ms=PAUSE
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-cache")
            self.send_header("Connection", "close")
            self.end_headers()
            for i in range(int(query.get("n", 3))):
                self.wfile.write(b"data: %d\n\n" % i)
                self.wfile.flush()
                time.sleep(int(query.get("ms", 200)) / 1000)
            self.close_connection = True
        elif route == "slow":           # ?ms=PAUSE
            time.sleep(int(query.get("ms", 200)) / 1000)
            self.answer(200, NAME)
        else:
            self.answer(200, json.dumps({
                "name": NAME, "method": self.command, "uri": self.path,
                "headers": [[n, v] for n, v in self.headers.items()],
                "size": size, "sha256": digest.hexdigest(),
            }), [("Content-Type", "application/json")])

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any
    do_HEAD = do_OPTIONS = handle_any


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", PORT), Handler).serve_forever()
