"""What comes out.  Members that a server adds later are left out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Optional, TypeVar

T = TypeVar("T")


def from_json(cls: type[T], values: dict[str, Any], **more: Any) -> T:
    """A dataclass from an object whose members are named like the fields, in
    camel case."""
    known = {}

    for f in fields(cls):  # type: ignore[arg-type]
        head, *rest = f.name.split("_")
        name = head + "".join(part.capitalize() for part in rest)

        if name in values:
            known[f.name] = values[name]
        elif f.name in values:
            known[f.name] = values[f.name]

    return cls(**{**known, **more})


@dataclass(frozen=True)
class ExecResult:
    """A command's end.  ``duration`` is in milliseconds."""
    exit_code: int
    stdout: str
    stderr: str
    command: str
    duration: float = 0
    timestamp: str = ""
    session_id: Optional[str] = None

    @property
    def success(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class ProcessInfo:
    id: str
    command: str
    status: str
    start_time: str
    pid: Optional[int] = None
    end_time: Optional[str] = None
    exit_code: Optional[int] = None


@dataclass(frozen=True)
class Logs:
    stdout: str
    stderr: str


@dataclass(frozen=True)
class LogMatch:
    """The first line that fits; ``match`` has a regular expression's groups."""
    line: str
    match: Optional[list[str]] = None


@dataclass(frozen=True)
class FileInfo:
    """``size`` in bytes, ``modified_at`` ISO 8601, ``mode`` as ``rwxr-xr-x``."""
    name: str
    absolute_path: str
    relative_path: str
    type: str
    size: int
    modified_at: str
    mode: str
    permissions: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """An event of a watch: ``type`` is ``event``, ``resync`` or ``stopped``."""
    type: str
    event_type: Optional[str] = None
    path: Optional[str] = None
    is_directory: bool = False
    reason: Optional[str] = None
    timestamp: Optional[str] = None


@dataclass(frozen=True)
class CheckResult:
    """``status`` is ``unchanged``, ``changed`` or ``resync``."""
    status: str
    version: str
    reason: Optional[str] = None


@dataclass(frozen=True)
class GitCheckout:
    repo_url: str
    branch: str
    target_dir: str


@dataclass(frozen=True)
class CodeContext:
    id: str
    language: str
    cwd: str


@dataclass(frozen=True)
class CodeError:
    name: str
    message: str
    traceback: list[str]


@dataclass
class CodeResult:
    """A cell's end.  Each of ``results`` is a dict with the formats of one
    result: ``text``, ``html``, ``png`` (base64), ``json``, ``chart``, …"""
    code: str
    stdout: str = ""
    stderr: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    error: Optional[CodeError] = None
    execution_count: Optional[int] = None

    @property
    def text(self) -> Optional[str]:
        """The last result's text."""
        for result in reversed(self.results):
            if "text" in result:
                return result["text"]

        return None


@dataclass(frozen=True)
class ExposedPort:
    url: str
    port: int
    access: str
    token: Optional[str] = None
    name: Optional[str] = None
    host: str = "local"
    hostnames: tuple[str, ...] = ()
    wake: str = "on"
    wakes_per_minute: int = 0


@dataclass(frozen=True)
class PreviewLink:
    url: str
    expires_at: str


@dataclass(frozen=True)
class Ticket:
    """Opens one WebSocket from a page that has no key."""

    ticket: str
    #: A subprotocol: ``new WebSocket(url, [protocol])``.
    protocol: str
    #: Address of the WebSocket, without a query.
    url: str
    #: Seconds.
    expires_in: int


@dataclass(frozen=True)
class Backup:
    """A backup in the sandbox's own ``/var/backups``."""
    id: str
    dir: str
