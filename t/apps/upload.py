"""Takes parts over HTTPS: upload.py CERTIFICATE KEY DIRECTORY.

Prints its port.  PUT /name stores DIRECTORY/name and answers with the body's
MD5 as ETag; /again/N/name refuses N times with 503 first; /deny is 403;
/noetag and /cut are answered without an ETag, and not at all; /hold waits
until DIRECTORY/go is there.
"""

import hashlib
import http.server
import os
import socketserver
import ssl
import sys
import time

certificate, key, directory = sys.argv[1:]
refused = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def do_PUT(self):
        path = self.path.split("?")[0]
        size = self.headers.get("Content-Length")
        with open(directory + "/requests", "a") as log:
            log.write("%s %s %s %s\n" % (
                self.path, size, self.headers.get("Transfer-Encoding"),
                self.headers.get("Expect")))
        if path.startswith("/cut"):
            self.close_connection = True
            return
        body = self.rfile.read(int(size or 0))
        parts = path.split("/")
        if parts[1] == "deny":
            return self.answer(403)
        if parts[1] == "again":
            refused[path] = refused.get(path, 0) + 1
            if refused[path] <= int(parts[2]):
                return self.answer(503)
        if parts[1] == "hold":
            end = time.time() + 20
            while not os.path.exists(directory + "/go") and time.time() < end:
                time.sleep(0.02)
        with open(directory + "/" + parts[-1], "wb") as out:
            out.write(body)
        if parts[1] == "noetag":
            return self.answer(200)
        self.answer(200, ("ETag", '"%s"' % hashlib.md5(body).hexdigest()))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass


server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
