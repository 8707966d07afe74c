# Written by unasync.py from _async/sandbox.py.
"""A sandbox: its life, its sessions and ports."""

from __future__ import annotations

import threading
import re
from typing import Any, Mapping, Optional, Union

from ..errors import PortNotExposedError, SandboxExistsError, \
    SandboxNotFoundError, SessionError, ValidationFailedError
from ..types import ExposedPort, PreviewLink, Ticket, from_json
from .client import Client
from .operations import NO_SESSION, Operations, Env

_ID = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?|[a-z2-7]{1,128})\Z")

_CHANGEABLE = ("sleepAfter", "keepAlive", "containerTimeouts", "labels",
               "resources")


class Session(Operations):
    """A shell that keeps its directory, variables and functions."""

    def __init__(self, sandbox: Sandbox, session_id: str) -> None:
        super().__init__(sandbox.client, sandbox.id, session_id)
        self._sandbox = sandbox
        self.id = session_id

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self.delete()

    def _prepare(self) -> None:
        self._sandbox._prepare()

    def set_env_vars(self, env: Env) -> None:
        """Variables of this session; None takes one away."""
        self._export(env)

    def delete(self) -> None:
        """Ends the session and what runs in it."""
        self._sandbox.delete_session(self.id)


class Sandbox(Operations):
    """A sandbox by its id.  Nothing is sent before the first operation, which
    makes and starts it; with options it is made with these.

    ``client`` is shared, or made from ``endpoint`` and ``api_key``.  Leaving a
    ``with`` block closes the connections and leaves the sandbox; ``destroy()``
    removes it.
    """

    def __init__(self, sandbox_id: str, *,
                 client: Optional[Client] = None,
                 endpoint: Optional[str] = None,
                 api_key: Optional[str] = None,
                 normalize_id: bool = False,
                 enable_default_session: bool = True,
                 sleep_after: Union[None, str, float] = None,
                 keep_alive: Optional[bool] = None,
                 container_timeouts: Optional[Mapping[str, int]] = None,
                 labels: Optional[Mapping[str, str]] = None,
                 image: Optional[str] = None,
                 resources: Optional[Mapping[str, Any]] = None,
                 network: Optional[Mapping[str, Any]] = None,
                 env: Optional[Mapping[str, str]] = None) -> None:
        name = sandbox_id.lower() if normalize_id else sandbox_id

        if not _ID.match(name):
            raise ValidationFailedError(
                f"invalid sandbox id {sandbox_id!r}: 1 to 40 of [a-z0-9-], "
                "beginning and ending with a letter or digit",
                "INVALID_ID", field="id", limit=40)

        super().__init__(client or Client(endpoint, api_key), name,
                         f"sandbox-{name}"[:128] if enable_default_session
                         else NO_SESSION)
        self.id = name
        self._own_client = client is None
        self._prepared = False
        self._preparing = threading.Lock()
        self._options = {key: value for key, value in {
            "sleepAfter": sleep_after, "keepAlive": keep_alive,
            "containerTimeouts": container_timeouts, "labels": labels,
            "image": image, "resources": resources, "network": network,
            "env": env}.items() if value is not None}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, if they are its own."""
        if self._own_client:
            self.client.close()

    def __repr__(self) -> str:
        return f"<sandbox {self.id!r} at {self.client.endpoint}>"

    def _prepare(self) -> None:
        if self._prepared or not self._options:
            return

        with self._preparing:
            if not self._prepared:
                self._create(self._options)
                self._prepared = True

    def _create(self, options: Mapping[str, Any]) -> None:
        try:
            self.client.json("POST", "/v1/sandbox", idempotent=True,
                                   json={"id": self.id, **options},
                                   operation="sandbox.create")
        except SandboxExistsError:
            changes = {name: value for name, value in options.items()
                       if name in _CHANGEABLE}
            record = self.record()

            if not changes or options.get("image", record.get("image")) \
                    != record.get("image"):
                raise

            self._patch(changes)

    def _patch(self, changes: Mapping[str, Any]) -> None:
        self.client.json("PATCH", self._path(""), json=dict(changes),
                               idempotent=True, operation="sandbox.configure")

    # Life

    def record(self) -> dict[str, Any]:
        """The server's record.  Looking makes and starts nothing: an id that
        was never used is a SandboxNotFoundError."""
        return self.client.json("GET", self._path(""),
                                      operation="sandbox.get")

    def state(self) -> str:
        """``created``, ``starting``, ``running``, ``sleeping``, ``asleep``,
        ``destroying``, or ``absent``."""
        try:
            return (self.record())["state"]
        except SandboxNotFoundError:
            return "absent"

    def destroy(self) -> None:
        """Ends it and removes its files and exposures."""
        self.client.request("DELETE", self._path(""), idempotent=True,
                                  operation="sandbox.destroy")
        self._prepared = False

    def sleep(self) -> None:
        """Ends what runs and keeps the files; the next operation wakes it."""
        self.client.request("POST", self._path("/sleep"),
                                  idempotent=True, operation="sandbox.sleep")

    def wake(self) -> None:
        """Starts it, if it doesn't run."""
        self._prepare()
        self.client.request("POST", self._path("/wake"),
                                  idempotent=True, operation="sandbox.wake")

    def configure(self, *, sleep_after: Union[None, str, float] = None,
                        keep_alive: Optional[bool] = None,
                        labels: Optional[Mapping[str, str]] = None,
                        container_timeouts: Optional[Mapping[str, int]] = None
                        ) -> None:
        """Changes options."""
        changes = {key: value for key, value in {
            "sleepAfter": sleep_after, "keepAlive": keep_alive,
            "labels": labels, "containerTimeouts": container_timeouts}.items()
            if value is not None}
        self._prepare()

        try:
            self._patch(changes)
        except SandboxNotFoundError:
            self._create(changes)

    # Sessions

    def set_env_vars(self, env: Env) -> None:
        """Variables for everything that begins from now on, and for the
        default session; durable.  None takes one away."""
        self._prepare()
        self.client.json("PATCH", self._path("/env"),
                               json=dict(env), idempotent=True,
                               operation="env.set")

        if self._session_id != NO_SESSION:
            self._export(env)

    def create_session(self, session_id: str, *,
                             cwd: Optional[str] = None,
                             env: Optional[Env] = None) -> Session:
        self._post("session/create", "session.create", id=session_id,
                         cwd=cwd, env=env and {
                             name: value for name, value in env.items()
                             if value is not None})

        return Session(self, session_id)

    def get_session(self, session_id: str) -> Session:
        """A handle; its first command makes the session if it isn't there."""
        return Session(self, session_id)

    def list_sessions(self) -> list[str]:
        return (self._get("session/list", "session.list"))["data"]

    def delete_session(self, session_id: str) -> None:
        """Ends a session and what runs in it."""
        if session_id == self._session_id:
            raise SessionError(
                f"cannot delete the default session {session_id!r}: use "
                "destroy() to end the sandbox", "INVALID_SESSION_ID")

        self._post("session/delete", "session.delete",
                         sessionId=session_id)

    # Ports

    def expose_port(self, port: int, *, name: Optional[str] = None,
                          token: Optional[str] = None,
                          access: Optional[str] = None,
                          host: Optional[str] = None,
                          hostname: Optional[str] = None,
                          hostnames: Optional[list[str]] = None,
                          wake: Optional[str] = None,
                          wakes_per_minute: Optional[int] = None,
                          limits: Optional[dict[str, Any]] = None
                          ) -> ExposedPort:
        """Gives a port an address in the outer world; ``access`` is ``token``
        (the default), ``public`` or ``private``. ``hostnames`` are host names
        of its own; with ``wake="off"`` its visitors start nothing; ``limits``
        are those of its visitors, as the API names them."""
        members = {"port": port, "name": name, "token": token,
                   "access": access, "host": host, "hostname": hostname,
                   "hostnames": hostnames, "wake": wake,
                   "wakesPerMinute": wakes_per_minute, "limits": limits}
        self._prepare()
        answer = self.client.json(
            "POST", self._path("/ports"), idempotent=True,
            json={key: value for key, value in members.items()
                  if value is not None}, operation="port.expose")

        return from_json(ExposedPort, answer)

    def unexpose_port(self, port: int) -> None:
        """The address is gone when this returns."""
        self.client.request("DELETE", self._path(f"/ports/{port}"),
                                  idempotent=True, operation="port.unexpose")

    def list_ports(self) -> list[ExposedPort]:
        answer = self.client.json("GET", self._path("/ports"),
                                        operation="port.list")

        return [from_json(ExposedPort, port) for port in answer["ports"]]

    def is_port_exposed(self, port: int) -> bool:
        try:
            self.client.json("GET", self._path(f"/ports/{port}"),
                                   operation="port.get")
        except PortNotExposedError:
            return False

        return True

    def fork(self, id: Optional[str] = None) -> Sandbox:
        """A new sandbox with the same files and what runs in it.  Where its
        driver can't, it raises NotSupportedError.
        """
        answer = self.client.json(
            "POST", self._path("/fork"), operation="sandbox.fork",
            json={} if id is None else {"id": id})

        return Sandbox(answer["id"], client=self.client)

    def create_preview_link(self, port: int, *,
                                  expires: Union[None, str, int] = None,
                                  path: Optional[str] = None,
                                  embed: Optional[bool] = None,
                                  hostname: Optional[str] = None
                                  ) -> PreviewLink:
        """A link that opens a private preview in a browser, for a time."""
        members = {"expires": expires, "path": path, "embed": embed,
                   "hostname": hostname}
        answer = self.client.json(
            "POST", self._path(f"/ports/{port}/link"), idempotent=True,
            json={key: value for key, value in members.items()
                  if value is not None}, operation="port.link")

        return from_json(PreviewLink, answer)

    def create_ticket(self, origin: str, *, route: str = "/pty",
                            expires: Optional[int] = None) -> Ticket:
        """A ticket with which a page that has no key opens one WebSocket: a
        terminal, or a port's (``/proxy/{port}/…``).  `origin` is the page's.
        """
        members: dict[str, object] = {"origin": origin,
                                      "route": route.split("?")[0]}

        if expires is not None:
            members["expires"] = expires

        answer = self.client.json(
            "POST", self._path("/ticket"), idempotent=True, json=members,
            operation="ticket.create")
        address = self.client.endpoint + self._path(route)

        return from_json(Ticket, {**answer,
                                  "url": re.sub("^http", "ws", address)})
