"""A server that speaks HTTP/1.1 byte by byte, for tests of what passes an edge
unharmed, and of what a bad app does to it.  usage: protocols.py PORT

Each answer says in X-Conn and X-Nth which connection it came on and as which
request of it."""

import base64
import hashlib
import itertools
import json
import socket
import socketserver
import struct
import sys
import time
from urllib.parse import parse_qs, urlsplit

PORT = int(sys.argv[1])
connections = itertools.count(1)
seen = {}           # what /note?k= has counted: bytes, and how it ended


class Gone(Exception):
    pass


class Handler(socketserver.BaseRequestHandler):
    def setup(self):
        self.sock, self.buf = self.request, b""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number, self.nth = next(connections), 0

    def more(self):
        data = self.sock.recv(262144)
        if not data:
            raise Gone()
        self.buf += data

    def line(self):
        while b"\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\n", 1)
        return line.rstrip(b"\r")

    def take(self, most):
        if not self.buf:
            self.more()
        data, self.buf = self.buf[:most], self.buf[most:]
        return data

    def body(self):
        """The pieces of the request's body, as they come."""
        if "chunked" in self.header("transfer-encoding"):
            while True:
                left = int(self.line().split(b";")[0], 16)
                if left == 0:
                    while True:
                        line = self.line()
                        if not line:
                            return
                        self.trailers.append(line.decode("latin-1"))
                while left:
                    data = self.take(left)
                    left -= len(data)
                    yield data
                self.line()
        left = int(self.header("content-length") or 0)
        while left:
            data = self.take(left)
            left -= len(data)
            yield data

    def header(self, name):
        return ", ".join(v for n, v in self.headers if n.lower() == name)

    def send(self, data):
        self.sock.sendall(data)

    def head(self, status="200 OK", *headers):
        lines = ["HTTP/1.1 " + status, "X-Conn: %d" % self.number,
                 "X-Nth: %d" % self.nth] + list(headers)
        self.send("\r\n".join(lines + ["", ""]).encode("latin-1"))

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reply(self, value, status="200 OK", *headers):
        body = json.dumps(value).encode()
        self.head(status, "Content-Type: application/json",
                  "Content-Length: %d" % len(body), *headers)
        if self.method != "HEAD":
            self.send(body)

    def handle(self):
        try:
            while self.one():
                pass
        except (Gone, OSError):
            pass

    def one(self):
        self.method, self.target, _ = self.line().decode("latin-1").split(" ")
        self.headers, self.trailers = [], []
        self.nth += 1
        while True:
            line = self.line().decode("latin-1")
            if not line:
                break
            name, value = line.split(":", 1)
            self.headers.append([name, value.strip()])
        url = urlsplit(self.target)
        self.q = {k: v[-1] for k, v in parse_qs(url.query).items()}
        route = url.path.strip("/").split("/")
        name = route[-1] if route[0] == "patient" else route[0]
        code = getattr(self, "do_" + name.replace("-", "_"), self.do_echo)
        return code() is not False

    # ---- what works

    def do_echo(self):
        digest, size = hashlib.sha256(), 0
        for data in self.body():
            digest.update(data)
            size += len(data)
        self.reply({"method": self.method, "target": self.target,
                    "headers": self.headers, "size": size,
                    "sha256": digest.hexdigest(), "trailers": self.trailers})

    def do_big(self):               # ?n=BYTES[&chunked=1][&ms=PAUSE]
        left, block = int(self.q["n"]), bytes(range(256)) * 1024
        chunked = "chunked" in self.q
        self.head("200 OK", "Transfer-Encoding: chunked" if chunked
                  else "Content-Length: %d" % left)
        if self.method == "HEAD":
            return
        while left:
            data = block[:min(left, len(block))]
            left -= len(data)
            self.chunk(data) if chunked else self.send(data)
            time.sleep(int(self.q.get("ms", 0)) / 1000)
        if chunked:
            self.send(b"0\r\n\r\n")

    def do_sse(self):               # ?n=COUNT&ms=PAUSE
        self.head("200 OK", "Content-Type: text/event-stream",
                  "Cache-Control: no-cache", "Transfer-Encoding: chunked")
        for i in range(int(self.q.get("n", 3))):
            self.chunk(b"data: %d\n\n" % i)
            time.sleep(int(self.q.get("ms", 100)) / 1000)
        self.send(b"0\r\n\r\n")

    def do_grpc_web(self):          # three messages and trailers, as frames
        data = b"".join(self.body())
        self.head("200 OK", "Content-Type: application/grpc-web+proto",
                  "Transfer-Encoding: chunked")
        for i in range(3):
            text = b"%d:%s" % (i, data[5:])
            self.chunk(struct.pack(">BI", 0, len(text)) + text)
            time.sleep(0.2)
        text = b"grpc-status: 0\r\ngrpc-message: fine\r\n"
        self.chunk(struct.pack(">BI", 0x80, len(text)) + text)
        self.send(b"0\r\n\r\n")

    def do_range(self):             # 1000 bytes, tag "v1"
        data, tag = bytes(i % 251 for i in range(1000)), '"v1"'
        wanted = self.header("range")
        if wanted and self.header("if-range") in ("", tag):
            first, last = wanted.split("=")[1].split("-")
            if int(first) >= len(data):
                self.head("416 Range Not Satisfiable", "Content-Length: 0",
                          "Content-Range: bytes */1000")
                return
            part = data[int(first):int(last or 999) + 1]
            self.head("206 Partial Content", "ETag: " + tag,
                      "Content-Range: bytes %s-%d/1000"
                      % (first, int(first) + len(part) - 1),
                      "Content-Length: %d" % len(part))
            self.send(part)
        else:
            self.head("200 OK", "ETag: " + tag, "Accept-Ranges: bytes",
                      "Content-Length: 1000")
            self.send(data)

    def do_status(self):            # ?s=204|304: no body, no length
        self.head(self.q["s"] + " Status", 'ETag: "v1"')

    def do_trailers(self):
        self.head("200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum")
        self.chunk(b"body")
        self.send(b"0\r\nX-Sum: 42\r\n\r\n")

    def do_headers(self):           # ?n=COUNT&size=BYTES, and cookies
        n, size = int(self.q["n"]), int(self.q["size"])
        self.head("200 OK", "Content-Length: 0",
                  *["X-H%d: %s" % (i, "h" * size) for i in range(n)],
                  *["Set-Cookie: c%d=%d" % (i, i) for i in range(n)])

    def do_early(self):             # answers before the body is there
        self.reply({"early": True}, "413 Payload Too Large",
                   "Connection: close")
        if "read" in self.q:
            for _ in self.body():
                pass
        return False

    def do_duplex(self):            # says how much came, while it comes
        self.head("200 OK", "Transfer-Encoding: chunked")
        for data in self.body():
            self.chunk(b"%d\n" % len(data))
        self.send(b"0\r\n\r\n")

    def do_idle(self):              # closes the connection when it is idle
        self.reply({"idle": True})
        self.sock.settimeout(int(self.q.get("ms", 50)) / 1000)
        try:
            self.more()
        except OSError:
            return False
        self.sock.settimeout(None)

    def do_ws(self):                # echoes; says hello first
        key = self.header("sec-websocket-key") \
            + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        chosen = [p.strip() for p in
                  self.header("sec-websocket-protocol").split(",")]
        self.head("101 Switching Protocols", "Upgrade: websocket",
                  "Connection: Upgrade",
                  "Sec-WebSocket-Accept: " + accept.decode(),
                  *(["Sec-WebSocket-Protocol: " + chosen[-1]]
                    if chosen[-1] else []))
        self.frame(1, b"hello")
        while True:
            opcode, data = self.read_frame()
            self.frame(opcode, data)
            if opcode == 8:
                return False

    def frame(self, opcode, data):
        n = len(data)
        head = struct.pack(">BB", 0x80 | opcode, n) if n < 126 \
            else struct.pack(">BBH", 0x80 | opcode, 126, n) if n < 65536 \
            else struct.pack(">BBQ", 0x80 | opcode, 127, n)
        self.send(head + data)

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def read_frame(self):
        b0, b1 = self.exactly(2)
        n = b1 & 127
        if n == 126:
            n, = struct.unpack(">H", self.exactly(2))
        elif n == 127:
            n, = struct.unpack(">Q", self.exactly(8))
        mask = self.exactly(4)
        data = self.exactly(n)
        key = (mask * (n // 4 + 1))[:n]
        return b0 & 15, (int.from_bytes(data, "big")
                         ^ int.from_bytes(key, "big")).to_bytes(n, "big")

    # ---- what doesn't

    def do_die(self):               # ?as=length|chunked|head|reset
        how = self.q["as"]
        if how == "head":
            self.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif how == "chunked":
            self.head("200 OK", "Transfer-Encoding: chunked")
            self.chunk(b"x" * 1000)
            self.send(b"ffff\r\n" + b"y" * 100)
        else:
            self.head("200 OK", "Content-Length: 100000")
            self.send(b"x" * 1000)
        time.sleep(0.1)
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        return False

    def do_never(self):             # reads on, says nothing
        while True:
            self.more()
            self.buf = b""

    def do_raw(self):               # ?hex=BYTES
        self.send(bytes.fromhex(self.q["hex"]))
        return False

    def do_slow_read(self):         # ?ms=PAUSE between pieces of 64 KiB
        size = 0
        for data in self.body():
            size += len(data)
            time.sleep(int(self.q["ms"]) / 1000 * len(data) / 65536)
        self.reply({"size": size})

    def do_note(self):              # ?k=KEY: streams until the client leaves
        seen[self.q["k"]] = "open"
        try:
            self.head("200 OK", "Transfer-Encoding: chunked")
            while True:
                self.chunk(b"tick\n")
                time.sleep(0.05)
        finally:
            seen[self.q["k"]] = "ended"

    def do_noted(self):
        self.reply(seen)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", PORT), Handler).serve_forever()
