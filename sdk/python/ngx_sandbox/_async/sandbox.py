"""A sandbox: its life, its sessions and ports."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Mapping, Optional, Union

from ..errors import PortNotExposedError, SandboxExistsError, \
    SandboxNotFoundError, SessionError, ValidationFailedError
from ..types import ExposedPort, PreviewLink, Ticket, from_json
from .client import AsyncClient
from .operations import NO_SESSION, AsyncOperations, Env

_ID = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?|[a-z2-7]{1,128})\Z")

_CHANGEABLE = ("sleepAfter", "keepAlive", "containerTimeouts", "labels",
               "resources")


class AsyncSession(AsyncOperations):
    """A shell that keeps its directory, variables and functions."""

    def __init__(self, sandbox: AsyncSandbox, session_id: str) -> None:
        super().__init__(sandbox.client, sandbox.id, session_id)
        self._sandbox = sandbox
        self.id = session_id

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_ignored: object) -> None:
        await self.delete()

    async def _prepare(self) -> None:
        await self._sandbox._prepare()

    async def set_env_vars(self, env: Env) -> None:
        """Variables of this session; None takes one away."""
        await self._export(env)

    async def delete(self) -> None:
        """Ends the session and what runs in it."""
        await self._sandbox.delete_session(self.id)


class AsyncSandbox(AsyncOperations):
    """A sandbox by its id.  Nothing is sent before the first operation, which
    makes and starts it; with options it is made with these.

    ``client`` is shared, or made from ``endpoint`` and ``api_key``.  Leaving a
    ``with`` block closes the connections and leaves the sandbox; ``destroy()``
    removes it.
    """

    def __init__(self, sandbox_id: str, *,
                 client: Optional[AsyncClient] = None,
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

        super().__init__(client or AsyncClient(endpoint, api_key), name,
                         f"sandbox-{name}"[:128] if enable_default_session
                         else NO_SESSION)
        self.id = name
        self._own_client = client is None
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._options = {key: value for key, value in {
            "sleepAfter": sleep_after, "keepAlive": keep_alive,
            "containerTimeouts": container_timeouts, "labels": labels,
            "image": image, "resources": resources, "network": network,
            "env": env}.items() if value is not None}

    async def __aenter__(self) -> AsyncSandbox:
        return self

    async def __aexit__(self, *_ignored: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections, if they are its own."""
        if self._own_client:
            await self.client.aclose()

    def __repr__(self) -> str:
        return f"<sandbox {self.id!r} at {self.client.endpoint}>"

    async def _prepare(self) -> None:
        if self._prepared or not self._options:
            return

        async with self._preparing:
            if not self._prepared:
                await self._create(self._options)
                self._prepared = True

    async def _create(self, options: Mapping[str, Any]) -> None:
        try:
            await self.client.json("POST", "/v1/sandbox", idempotent=True,
                                   json={"id": self.id, **options},
                                   operation="sandbox.create")
        except SandboxExistsError:
            changes = {name: value for name, value in options.items()
                       if name in _CHANGEABLE}
            record = await self.record()

            if not changes or options.get("image", record.get("image")) \
                    != record.get("image"):
                raise

            await self._patch(changes)

    async def _patch(self, changes: Mapping[str, Any]) -> None:
        await self.client.json("PATCH", self._path(""), json=dict(changes),
                               idempotent=True, operation="sandbox.configure")

    # Life

    async def record(self) -> dict[str, Any]:
        """The server's record.  Looking makes and starts nothing: an id that
        was never used is a SandboxNotFoundError."""
        return await self.client.json("GET", self._path(""),
                                      operation="sandbox.get")

    async def state(self) -> str:
        """``created``, ``starting``, ``running``, ``sleeping``, ``asleep``,
        ``destroying``, or ``absent``."""
        try:
            return (await self.record())["state"]
        except SandboxNotFoundError:
            return "absent"

    async def destroy(self) -> None:
        """Ends it and removes its files and exposures."""
        await self.client.request("DELETE", self._path(""), idempotent=True,
                                  operation="sandbox.destroy")
        self._prepared = False

    async def sleep(self) -> None:
        """Ends what runs and keeps the files; the next operation wakes it."""
        await self.client.request("POST", self._path("/sleep"),
                                  idempotent=True, operation="sandbox.sleep")

    async def wake(self) -> None:
        """Starts it, if it doesn't run."""
        await self._prepare()
        await self.client.request("POST", self._path("/wake"),
                                  idempotent=True, operation="sandbox.wake")

    async def configure(self, *, sleep_after: Union[None, str, float] = None,
                        keep_alive: Optional[bool] = None,
                        labels: Optional[Mapping[str, str]] = None,
                        container_timeouts: Optional[Mapping[str, int]] = None
                        ) -> None:
        """Changes options."""
        changes = {key: value for key, value in {
            "sleepAfter": sleep_after, "keepAlive": keep_alive,
            "labels": labels, "containerTimeouts": container_timeouts}.items()
            if value is not None}
        await self._prepare()

        try:
            await self._patch(changes)
        except SandboxNotFoundError:
            await self._create(changes)

    # Sessions

    async def set_env_vars(self, env: Env) -> None:
        """Variables for everything that begins from now on, and for the
        default session; durable.  None takes one away."""
        await self._prepare()
        await self.client.json("PATCH", self._path("/env"),
                               json=dict(env), idempotent=True,
                               operation="env.set")

        if self._session_id != NO_SESSION:
            await self._export(env)

    async def create_session(self, session_id: str, *,
                             cwd: Optional[str] = None,
                             env: Optional[Env] = None) -> AsyncSession:
        await self._post("session/create", "session.create", id=session_id,
                         cwd=cwd, env=env and {
                             name: value for name, value in env.items()
                             if value is not None})

        return AsyncSession(self, session_id)

    def get_session(self, session_id: str) -> AsyncSession:
        """A handle; its first command makes the session if it isn't there."""
        return AsyncSession(self, session_id)

    async def list_sessions(self) -> list[str]:
        return (await self._get("session/list", "session.list"))["data"]

    async def delete_session(self, session_id: str) -> None:
        """Ends a session and what runs in it."""
        if session_id == self._session_id:
            raise SessionError(
                f"cannot delete the default session {session_id!r}: use "
                "destroy() to end the sandbox", "INVALID_SESSION_ID")

        await self._post("session/delete", "session.delete",
                         sessionId=session_id)

    # Ports

    async def expose_port(self, port: int, *, name: Optional[str] = None,
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
        await self._prepare()
        answer = await self.client.json(
            "POST", self._path("/ports"), idempotent=True,
            json={key: value for key, value in members.items()
                  if value is not None}, operation="port.expose")

        return from_json(ExposedPort, answer)

    async def unexpose_port(self, port: int) -> None:
        """The address is gone when this returns."""
        await self.client.request("DELETE", self._path(f"/ports/{port}"),
                                  idempotent=True, operation="port.unexpose")

    async def list_ports(self) -> list[ExposedPort]:
        answer = await self.client.json("GET", self._path("/ports"),
                                        operation="port.list")

        return [from_json(ExposedPort, port) for port in answer["ports"]]

    async def is_port_exposed(self, port: int) -> bool:
        try:
            await self.client.json("GET", self._path(f"/ports/{port}"),
                                   operation="port.get")
        except PortNotExposedError:
            return False

        return True

    async def fork(self, id: Optional[str] = None) -> AsyncSandbox:
        """A new sandbox with the same files and what runs in it.  Where its
        driver can't, it raises NotSupportedError.
        """
        answer = await self.client.json(
            "POST", self._path("/fork"), operation="sandbox.fork",
            json={} if id is None else {"id": id})

        return AsyncSandbox(answer["id"], client=self.client)

    async def create_preview_link(self, port: int, *,
                                  expires: Union[None, str, int] = None,
                                  path: Optional[str] = None,
                                  embed: Optional[bool] = None,
                                  hostname: Optional[str] = None
                                  ) -> PreviewLink:
        """A link that opens a private preview in a browser, for a time."""
        members = {"expires": expires, "path": path, "embed": embed,
                   "hostname": hostname}
        answer = await self.client.json(
            "POST", self._path(f"/ports/{port}/link"), idempotent=True,
            json={key: value for key, value in members.items()
                  if value is not None}, operation="port.link")

        return from_json(PreviewLink, answer)

    async def create_ticket(self, origin: str, *, route: str = "/pty",
                            expires: Optional[int] = None) -> Ticket:
        """A ticket with which a page that has no key opens one WebSocket: a
        terminal, or a port's (``/proxy/{port}/…``).  `origin` is the page's.
        """
        members: dict[str, object] = {"origin": origin,
                                      "route": route.split("?")[0]}

        if expires is not None:
            members["expires"] = expires

        answer = await self.client.json(
            "POST", self._path("/ticket"), idempotent=True, json=members,
            operation="ticket.create")
        address = self.client.endpoint + self._path(route)

        return from_json(Ticket, {**answer,
                                  "url": re.sub("^http", "ws", address)})
