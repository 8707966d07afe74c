"""What a sandbox and a session of it have in common."""

from __future__ import annotations

import base64
import json as jsonlib
import re
import time
import uuid
from datetime import datetime, timezone
from typing import Any, AsyncIterator, Callable, Mapping, Optional, Union
from urllib.parse import quote

from ..errors import BackupExpiredError, BackupNotFoundError, CommandError, \
    ConnectionLostError, ContextNotFoundError, FileNotFoundInSandboxError, \
    InvalidBackupConfigError, NotSupportedError, ProcessNotFoundError, \
    error_for
from ..types import Backup, Change, CheckResult, CodeContext, CodeError, \
    CodeResult, ExecResult, FileInfo, GitCheckout, LogMatch, Logs, \
    ProcessInfo, from_json
from .client import AsyncClient, Content, sandbox_path

NO_SESSION = "__DISABLE_SESSION__"
BACKUP_TTL = 259200

Env = Mapping[str, Optional[str]]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z")


def _ms(seconds: Optional[float]) -> Optional[int]:
    return None if seconds is None else max(1, round(seconds * 1000))


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items()
            if value is not None}


def _failed(event: Mapping[str, Any], operation: str) -> Exception:
    return error_for(event.get("code") or "STREAM_ERROR",
                     event.get("error") or event.get("data")
                     or "the stream failed", operation=operation)


def _cut(operation: str) -> Exception:
    return ConnectionLostError("the stream ended before its end was told",
                               "CONNECTION_LOST", operation=operation)


class AsyncProcess:
    """A process of a sandbox, as it was when it was asked for."""

    def __init__(self, owner: AsyncOperations, info: ProcessInfo) -> None:
        self._owner = owner
        self.info = info
        self.id = info.id
        self.pid = info.pid
        self.command = info.command
        self.status = info.status
        self.exit_code = info.exit_code

    def __repr__(self) -> str:
        return f"<process {self.id!r}: {self.command!r}, {self.status}>"

    def _path(self, rest: str = "") -> str:
        return f"process/{quote(self.id, safe='')}{rest}"

    async def refresh(self) -> ProcessInfo:
        """What it is now."""
        answer = await self._owner._get(self._path(), "process.get")

        return from_json(ProcessInfo, answer["process"])

    async def kill(self, signal: Optional[str] = None) -> None:
        """Ends it with all that it has started: the signal (SIGTERM), after
        five seconds SIGKILL."""
        await self._owner._call("DELETE", self._path(), "process.kill",
                                params={"signal": signal})

    async def signal(self, signal: Union[str, int]) -> None:
        """Sends a signal and doesn't wait."""
        await self._owner._post(self._path("/signal"), "process.signal",
                                signal=signal)

    async def logs(self) -> Logs:
        answer = await self._owner._get(self._path("/logs"), "process.logs")

        return Logs(answer["stdout"], answer["stderr"])

    async def follow(self, stdout_offset: int = 0, stderr_offset: int = 0
                     ) -> AsyncIterator[tuple[str, str]]:
        """``("stdout", text)`` and ``("stderr", text)`` until its end."""
        operation = "process.stream"

        async for event in self._owner._events(
                "GET", self._path("/stream"), operation,
                params={"stdoutOffset": stdout_offset,
                        "stderrOffset": stderr_offset}):
            if event["type"] in ("stdout", "stderr"):
                yield event["type"], event["data"]
            elif event["type"] == "exit":
                return
            elif event["type"] == "error":
                raise _failed(event, operation)

        raise _cut(operation)

    async def wait(self, timeout: Optional[float] = None) -> int:
        """Its exit code; ``timeout`` in seconds."""
        answer = await self._owner._post(
            self._path("/wait"), "process.wait", idempotent=True,
            condition="exit", timeoutMs=_ms(timeout))

        return answer["exitCode"]

    async def wait_for_log(self, pattern: Union[str, re.Pattern[str]],
                           timeout: Optional[float] = None) -> LogMatch:
        """The first line with the text, or that the pattern fits, found by the
        server: no look-around, no back-references."""
        regex = not isinstance(pattern, str)
        flags = "i" if regex and pattern.flags & re.IGNORECASE else None
        answer = await self._owner._post(
            self._path("/wait"), "process.wait", idempotent=True,
            condition="log", regex=regex, flags=flags,
            pattern=pattern.pattern if regex else pattern,
            timeoutMs=_ms(timeout))

        return from_json(LogMatch, answer)

    async def wait_for_port(self, port: int, *, mode: str = "http",
                            path: str = "/",
                            timeout: Optional[float] = None) -> None:
        """Until something inside answers on the port: ``mode`` is ``http``
        (statuses 200 to 399) or ``tcp``."""
        operation = "process.wait_for_port"
        condition = f"port {port} ({'TCP' if mode == 'tcp' else 'HTTP ' + path})"

        async for event in self._owner._events(
                "POST", "port-watch", operation,
                json=_given(port=port, mode=mode, path=path,
                            processId=self.id, timeoutMs=_ms(timeout))):
            if event["type"] == "ready":
                return
            if event["type"] == "process_exited":
                raise error_for(
                    "PROCESS_EXITED_BEFORE_READY",
                    f"the process exited with code {event.get('exitCode')} "
                    f"before becoming ready: {condition}", status=500,
                    context={"processId": self.id, "condition": condition,
                             "exitCode": event.get("exitCode")})
            if event["type"] == "error":
                raise _failed(event, operation)

        raise _cut(operation)

    async def write_stdin(self, data: str) -> None:
        """More input, for one that was started with ``stdin_open``."""
        await self._owner._post(self._path("/stdin"), "process.stdin",
                                data=data)

    async def close_stdin(self) -> None:
        await self._owner._post(self._path("/stdin"), "process.stdin",
                                end=True)


class AsyncOperations:
    """Commands, processes, files, code: in one sandbox, in one session."""

    def __init__(self, client: AsyncClient, sandbox_id: str,
                 session_id: str) -> None:
        self.client = client
        self._sandbox_id = sandbox_id
        self._session_id = session_id
        self._contexts: dict[str, CodeContext] = {}

    async def _prepare(self) -> None:
        """What has to be said before the first operation."""

    def _path(self, rest: str) -> str:
        return sandbox_path(self._sandbox_id, rest)

    async def _call(self, method: str, route: str, operation: str,
                    **options: Any) -> Any:
        await self._prepare()

        return await self.client.json(method, self._path(f"/api/{route}"),
                                      operation=operation, **options)

    async def _get(self, route: str, operation: str) -> Any:
        return await self._call("GET", route, operation)

    async def _post(self, route: str, operation: str, *,
                    idempotent: bool = False, **members: Any) -> Any:
        return await self._call("POST", route, operation,
                                json=_given(**members), idempotent=idempotent)

    async def _events(self, method: str, route: str, operation: str,
                      **options: Any) -> AsyncIterator[dict[str, Any]]:
        await self._prepare()

        async for event in self.client.events(
                method, self._path(f"/api/{route}"), operation=operation,
                **options):
            try:
                yield jsonlib.loads(event.data)
            except ValueError:
                continue

    # Commands

    async def exec(self, command: str, *, cwd: Optional[str] = None,
                   env: Optional[Env] = None,
                   timeout: Optional[float] = None,
                   stdin: Optional[str] = None,
                   on_output: Optional[Callable[[str, str], None]] = None
                   ) -> ExecResult:
        """Runs a command of bash and waits for its end; ``timeout`` in seconds.
        A command that fails is a result.  With ``on_output`` its output is
        told as it comes, and what it changes in the session's shell is lost."""
        if on_output is None:
            answer = await self._post(
                "execute", "command.execute", command=command,
                sessionId=self._session_id, cwd=cwd, env=env,
                timeoutMs=_ms(timeout), stdin=stdin)

            return from_json(ExecResult, answer)

        started = time.monotonic()
        output = {"stdout": [], "stderr": []}

        async for event in self.exec_stream(command, cwd=cwd, env=env,
                                            timeout=timeout, stdin=stdin):
            if event["type"] in output:
                output[event["type"]].append(event["data"])
                on_output(event["type"], event["data"])
            elif event["type"] == "complete":
                return ExecResult(
                    event["exitCode"], "".join(output["stdout"]),
                    "".join(output["stderr"]), command,
                    (time.monotonic() - started) * 1000, event["timestamp"],
                    self._session_id)

        raise _cut("command.execute")

    async def exec_stream(self, command: str, *, cwd: Optional[str] = None,
                          env: Optional[Env] = None,
                          timeout: Optional[float] = None,
                          stdin: Optional[str] = None,
                          process_id: Optional[str] = None
                          ) -> AsyncIterator[dict[str, Any]]:
        """Events: ``start``, ``stdout``, ``stderr``, at the end ``complete``
        with ``exitCode``.  An ``error`` is raised."""
        ended = False

        async for event in self._events(
                "POST", "execute/stream", "command.stream",
                json=_given(command=command, sessionId=self._session_id,
                            cwd=cwd, env=env, timeoutMs=_ms(timeout),
                            stdin=stdin, processId=process_id)):
            if event["type"] == "error":
                raise _failed(event, "command.stream")

            ended = event["type"] == "complete"
            yield event

        if not ended:
            raise _cut("command.stream")

    # Processes

    async def start_process(self, command: str, *,
                            process_id: Optional[str] = None,
                            cwd: Optional[str] = None,
                            env: Optional[Env] = None,
                            timeout: Optional[float] = None,
                            stdin: Optional[str] = None,
                            stdin_open: Optional[bool] = None
                            ) -> AsyncProcess:
        """Starts a process that runs beside the commands."""
        answer = await self._post(
            "process/start", "process.start", command=command,
            sessionId=self._session_id, processId=process_id, cwd=cwd,
            env=env, timeoutMs=_ms(timeout), stdin=stdin,
            stdinOpen=stdin_open)

        return AsyncProcess(self, ProcessInfo(
            answer["processId"], answer["command"], "running",
            answer["timestamp"], answer.get("pid")))

    async def list_processes(self) -> list[AsyncProcess]:
        answer = await self._get("process/list", "process.list")

        return [AsyncProcess(self, from_json(ProcessInfo, info))
                for info in answer["processes"]]

    async def get_process(self, process_id: str) -> Optional[AsyncProcess]:
        """None if there is no such process."""
        route = f"process/{quote(process_id, safe='')}"

        try:
            answer = await self._get(route, "process.get")
        except ProcessNotFoundError:
            return None

        return AsyncProcess(self, from_json(ProcessInfo, answer["process"]))

    async def kill_all_processes(self) -> int:
        """How many were running."""
        answer = await self._call("DELETE", "process/kill-all",
                                  "process.kill_all")

        return answer["cleanedCount"]

    # Files

    async def write_file(self, path: str, content: Content) -> None:
        """Replaces a file as a whole or not at all; missing directories are
        made.  Bytes and iterators go raw; their relative paths begin at
        ``/workspace``."""
        if isinstance(content, str):
            await self._post("write", "file.write", idempotent=True,
                             path=path, content=content,
                             sessionId=self._session_id)
        else:
            await self._call("PUT", "file", "file.write", content=content,
                             params={"path": path},
                             headers={"Content-Type":
                                      "application/octet-stream"})

    async def read_file(self, path: str) -> str:
        """A file of text; of any other one the bytes are no UTF-8 perhaps, see
        ``read_bytes()``."""
        answer = await self._post("read", "file.read", idempotent=True,
                                  path=path, encoding="utf-8",
                                  sessionId=self._session_id)

        return answer["content"]

    async def read_bytes(self, path: str) -> bytes:
        answer = await self._post("read", "file.read", idempotent=True,
                                  path=path, encoding="base64",
                                  sessionId=self._session_id)

        return base64.b64decode(answer["content"])

    async def read_stream(self, path: str) -> AsyncIterator[bytes]:
        """A file of any size in pieces; a relative path begins at
        ``/workspace``."""
        await self._prepare()

        async with self.client.stream(
                "GET", self._path("/api/file"), params={"path": path},
                operation="file.read") as response:
            async for piece in response.aiter_raw():
                yield piece

    async def exists(self, path: str) -> bool:
        answer = await self._post("exists", "file.exists", idempotent=True,
                                  path=path, sessionId=self._session_id)

        return answer["exists"]

    async def mkdir(self, path: str, *, recursive: bool = False) -> None:
        await self._post("mkdir", "directory.create", idempotent=recursive,
                         path=path, recursive=recursive,
                         sessionId=self._session_id)

    async def list_files(self, path: str = "/workspace", *,
                         recursive: bool = False,
                         include_hidden: bool = False) -> list[FileInfo]:
        answer = await self._post(
            "list-files", "file.list", idempotent=True, path=path,
            options={"recursive": recursive, "includeHidden": include_hidden},
            sessionId=self._session_id)

        return [from_json(FileInfo, info) for info in answer["files"]]

    async def delete_file(self, path: str) -> None:
        await self._post("delete", "file.delete", path=path,
                         sessionId=self._session_id)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        await self._post("rename", "file.rename", oldPath=old_path,
                         newPath=new_path, sessionId=self._session_id)

    async def move_file(self, source: str, destination: str) -> None:
        await self._post("move", "file.move", sourcePath=source,
                         destinationPath=destination,
                         sessionId=self._session_id)

    async def upload_archive(self, path: str, archive: Content) -> None:
        """Extracts a tar archive, uncompressed, over a directory."""
        await self._call("PUT", "archive", "archive.extract", content=archive,
                         params={"path": path})

    async def download_archive(self, path: str,
                               excludes: Optional[list[str]] = None
                               ) -> AsyncIterator[bytes]:
        """A directory as a tar archive, in pieces."""
        await self._prepare()

        async with self.client.stream(
                "GET", self._path("/api/archive"), operation="archive.create",
                params={"path": path, "excludes": ",".join(excludes)
                        if excludes else None}) as response:
            async for piece in response.aiter_raw():
                yield piece

    async def watch(self, path: str = "/workspace", *,
                    recursive: bool = True,
                    include: Optional[list[str]] = None,
                    exclude: Optional[list[str]] = None
                    ) -> AsyncIterator[Change]:
        """Changes as they happen, after one of type ``watching``."""
        async for event in self._events(
                "POST", "watch", "watch.start",
                json=_given(path=path, recursive=recursive, include=include,
                            exclude=exclude, sessionId=self._session_id)):
            if event["type"] == "error":
                raise _failed(event, "watch.start")

            yield from_json(Change, event)

    async def check_changes(self, path: str = "/workspace", *,
                            since: Optional[str] = None,
                            include: Optional[list[str]] = None,
                            exclude: Optional[list[str]] = None
                            ) -> CheckResult:
        """Whether something has changed since an earlier check's
        ``version``."""
        answer = await self._post(
            "watch/check", "watch.check", idempotent=True, path=path,
            since=since, include=include, exclude=exclude,
            sessionId=self._session_id)

        return from_json(CheckResult, answer)

    async def git_checkout(self, repo_url: str, *,
                           branch: Optional[str] = None,
                           target_dir: Optional[str] = None,
                           depth: Optional[int] = None,
                           timeout: Optional[float] = None) -> GitCheckout:
        answer = await self._post(
            "git/checkout", "git.checkout", repoUrl=repo_url, branch=branch,
            targetDir=target_dir, depth=depth, timeoutMs=_ms(timeout),
            sessionId=self._session_id)

        return from_json(GitCheckout, answer)

    # Code

    async def create_code_context(self, language: str = "python", *,
                                  cwd: Optional[str] = None,
                                  env: Optional[Env] = None,
                                  timeout: Optional[float] = None
                                  ) -> CodeContext:
        answer = await self._post(
            "contexts", "code.create_context", language=language, cwd=cwd,
            env_vars=env, timeout=_ms(timeout))

        return CodeContext(answer["contextId"], answer["language"],
                           answer["cwd"])

    async def list_code_contexts(self) -> list[CodeContext]:
        answer = await self._get("contexts", "code.list_contexts")

        return [from_json(CodeContext, info) for info in answer["contexts"]]

    async def delete_code_context(self, context_id: str) -> None:
        await self._call("DELETE", f"contexts/{quote(context_id, safe='')}",
                         "code.delete_context")

    async def run_code_stream(self, code: str, *,
                              context: Optional[CodeContext] = None,
                              language: str = "python",
                              env: Optional[Env] = None,
                              timeout: Optional[float] = None
                              ) -> AsyncIterator[dict[str, Any]]:
        """Events as they come; leaving the loop interrupts the cell."""
        used = context or self._contexts.get(language)

        if used is None:
            used = await self.create_code_context(language)
            self._contexts[language] = used

        while True:
            begun = ended = False

            try:
                async for event in self._events(
                        "POST", "execute/code", "code.execute",
                        json=_given(context_id=used.id, code=code,
                                    timeout_ms=_ms(timeout), env_vars=env)):
                    begun = True
                    ended = event["type"] in ("execution_complete", "error")
                    yield event
            except ContextNotFoundError:
                # It went with a restart of the sandbox; nothing was run.
                if begun or context is not None:
                    raise

                used = await self.create_code_context(language)
                self._contexts[language] = used
                continue

            if not ended:
                raise _cut("code.execute")

            return

    async def run_code(self, code: str, *,
                       context: Optional[CodeContext] = None,
                       language: str = "python", env: Optional[Env] = None,
                       timeout: Optional[float] = None,
                       on_output: Optional[Callable[[str, str], None]] = None
                       ) -> CodeResult:
        """Runs a cell; what it raises is in the result's ``error``.  Without a
        context the language's default one is used."""
        result = CodeResult(code)

        async for event in self.run_code_stream(
                code, context=context, language=language, env=env,
                timeout=timeout):
            kind = event.pop("type")

            if kind in ("stdout", "stderr"):
                setattr(result, kind, getattr(result, kind) + event["text"])
                if on_output:
                    on_output(kind, event["text"])
            elif kind == "result":
                event.pop("metadata", None)
                result.results.append(event)
            elif kind == "error" and event.get("code"):
                # Not the cell's own: its sandbox has gone.
                raise _failed(event, "code.execute")
            elif kind == "error":
                result.error = CodeError(
                    event.get("name") or event["ename"],
                    event.get("message") or event["evalue"],
                    event["traceback"])
            elif kind == "execution_complete":
                result.execution_count = event["execution_count"]

        return result

    # Backups

    async def create_backup(self, directory: str, *,
                            name: Optional[str] = None,
                            ttl: float = BACKUP_TTL,
                            excludes: Optional[list[str]] = None,
                            gitignore: Optional[bool] = None) -> Backup:
        """Saves a directory in the sandbox's own ``/var/backups``; ``ttl`` in
        seconds."""
        if ttl <= 0:
            raise InvalidBackupConfigError("ttl must be above 0",
                                           "INVALID_BACKUP_CONFIG",
                                           field="ttl")

        backup = str(uuid.uuid4())
        created = datetime.now(timezone.utc).isoformat()
        answer = await self._post(
            "backup/create", "backup.create", dir=directory,
            archivePath=f"/var/backups/{backup}.sqsh", excludes=excludes,
            gitignore=gitignore)

        await self.write_file(
            f"/var/backups/{backup}.json",
            jsonlib.dumps({"id": backup, "dir": directory, "name": name,
                           "sizeBytes": answer["sizeBytes"], "ttl": ttl,
                           "createdAt": created}))

        return Backup(backup, directory)

    async def restore_backup(self, backup: Backup) -> None:
        """Replaces a directory's contents, all or nothing."""
        if not _UUID.match(backup.id):
            raise InvalidBackupConfigError("a backup's id is a UUID",
                                           "INVALID_BACKUP_CONFIG",
                                           field="id")

        try:
            metadata = jsonlib.loads(await self.read_file(
                f"/var/backups/{backup.id}.json"))
        except FileNotFoundInSandboxError as cause:
            raise BackupNotFoundError(
                f"there is no backup {backup.id} in this sandbox",
                "BACKUP_NOT_FOUND", status=404,
                context={"backupId": backup.id}) from cause

        created = datetime.fromisoformat(
            metadata["createdAt"].replace("Z", "+00:00"))

        if time.time() >= created.timestamp() + metadata["ttl"]:
            raise BackupExpiredError(f"the backup {backup.id} has expired",
                                     "BACKUP_EXPIRED", status=400,
                                     context={"backupId": backup.id})

        await self._post("backup/restore", "backup.restore", dir=backup.dir,
                         archivePath=f"/var/backups/{backup.id}.sqsh")

    async def mount_bucket(self, *_ignored: Any, **_more: Any) -> None:
        """Not supported by this server."""
        raise NotSupportedError("bucket mounts are not supported by this "
                                "server", "NOT_SUPPORTED", status=501)

    async def unmount_bucket(self, *_ignored: Any, **_more: Any) -> None:
        """Not supported by this server."""
        await self.mount_bucket()

    async def _export(self, env: Env) -> None:
        """Sets and unsets variables of the session's shell."""
        lines = []

        for name, value in env.items():
            if not _NAME.match(name):
                raise CommandError(
                    f"invalid environment variable name: {name}",
                    "COMMAND_EXECUTION_ERROR", field=name)

            lines.append(f"unset {name}" if value is None else
                         "export %s='%s'" % (name,
                                             value.replace("'", "'\\''")))

        if lines:
            result = await self.exec("\n".join(lines))

            if not result.success:
                raise CommandError("variables could not be set: "
                                   + result.stderr,
                                   "COMMAND_EXECUTION_ERROR")
