"""sandboxctl exec -it: this terminal becomes one inside."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import termios
import tty
import uuid
from typing import Optional
from urllib.parse import urlencode

import websockets

from ._sync.client import Client, sandbox_path
from ._sync.sandbox import Sandbox
from .errors import ConnectionLostError, SandboxError, error_from_response

READ = 64 * 1024


def attach(client: Client, sandbox: Sandbox, session: Optional[str],
           words: list[str]) -> int:
    """Runs a command, or a shell, in a terminal; its exit code."""
    if not sys.stdin.isatty():
        raise SandboxError("exec -t needs a terminal", "NOT_A_TERMINAL")

    own = session is None
    name = session or f"ctl-{uuid.uuid4().hex[:12]}"
    size = shutil.get_terminal_size()
    query = urlencode({"session": name, "cols": size.columns,
                       "rows": size.lines})
    url = client.endpoint.replace("http", "ws", 1) \
        + sandbox_path(sandbox.id, f"/pty?{query}")

    try:
        return asyncio.run(_relay(url, client.authorization(), words))
    finally:
        if own:
            try:
                sandbox.delete_session(name)
            except SandboxError:
                pass


async def _relay(url: str, headers: dict[str, str], words: list[str]) -> int:
    try:
        connection = await websockets.connect(
            url, extra_headers=headers, max_size=None, open_timeout=60,
            ping_interval=20)
    except websockets.InvalidStatusCode as error:
        raise error_from_response(error.status_code, b"", None,
                                  "terminal") from error
    except OSError as error:
        raise ConnectionLostError(f"no answer: {error}",
                                  "CONNECTION_LOST") from error

    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin)
    typed: asyncio.Queue[bytes] = asyncio.Queue(64)
    code = 255

    def readable() -> None:
        if typed.full():
            loop.remove_reader(stdin)
            return

        typed.put_nowait(os.read(stdin, READ))

    async def send() -> None:
        while True:
            data = await typed.get()
            loop.add_reader(stdin, readable)
            await connection.send(data or b"\x04")

    def resized() -> None:
        size = shutil.get_terminal_size()
        loop.create_task(connection.send(json.dumps(
            {"type": "resize", "cols": size.columns, "rows": size.lines})))

    tty.setraw(stdin)
    loop.add_reader(stdin, readable)
    loop.add_signal_handler(signal.SIGWINCH, resized)
    sender = loop.create_task(send())

    try:
        async for message in connection:
            if isinstance(message, bytes):
                os.write(sys.stdout.fileno(), message)
                continue

            event = json.loads(message)

            if event["type"] == "ready" and words:
                line = words[0] if len(words) == 1 else shlex.join(words)
                await connection.send(f"exec {line}\n".encode())
            elif event["type"] == "exit":
                code = event["code"]
            elif event["type"] == "error":
                raise SandboxError(event["message"], "TERMINAL_ERROR")
    except websockets.ConnectionClosedError as error:
        raise ConnectionLostError(f"the terminal's connection broke off: "
                                  f"{error}", "CONNECTION_LOST") from error
    finally:
        sender.cancel()
        loop.remove_reader(stdin)
        loop.remove_signal_handler(signal.SIGWINCH)
        termios.tcsetattr(stdin, termios.TCSADRAIN, saved)
        await connection.close()

    return code
