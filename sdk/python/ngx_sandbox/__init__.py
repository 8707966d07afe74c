"""Self-hosted sandboxes behind nginx, from Python.

    from ngx_sandbox import Sandbox

    with Sandbox("my-project", sleep_after="10m") as sandbox:
        print(sandbox.exec("python3 -V").stdout)

``Client``, ``Sandbox``, ``Session`` and ``Process`` wait; ``AsyncClient`` and
its like are the same for asyncio.
"""

from ._async.client import AsyncClient
from ._async.operations import AsyncProcess
from ._async.sandbox import AsyncSandbox, AsyncSession
from ._sync.client import Client
from ._sync.operations import Process
from ._sync.sandbox import Sandbox, Session
from .errors import *  # noqa: F401,F403
from .types import Backup, Change, CheckResult, CodeContext, CodeError, \
    CodeResult, ExecResult, ExposedPort, FileInfo, GitCheckout, LogMatch, \
    Logs, PreviewLink, ProcessInfo, Ticket

__version__ = "0.1.0"

__all__ = [
    "AsyncClient", "AsyncProcess", "AsyncSandbox", "AsyncSession", "Backup",
    "Change", "CheckResult", "Client", "CodeContext", "CodeError",
    "CodeResult", "ExecResult", "ExposedPort", "FileInfo", "GitCheckout",
    "LogMatch", "Logs", "PreviewLink", "Process", "ProcessInfo", "Sandbox",
    "Session", "Ticket",
]
