"""Errors: each is an instance of the class that its code names."""

from __future__ import annotations

import json
from typing import Any, Optional


class SandboxError(Exception):
    """The base of everything that this library raises on its own.

    ``code`` is for programs (``FILE_NOT_FOUND``), ``status`` the HTTP status (0
    without an answer), ``context`` has facts such as ``path``, ``operation``
    says what was tried, ``field`` and ``limit`` which member was wrong, and
    ``retry_after`` how many seconds to wait.
    """

    def __init__(self, message: str, code: str = "SANDBOX_ERROR", *,
                 status: int = 0, context: Optional[dict[str, Any]] = None,
                 operation: Optional[str] = None,
                 suggestion: Optional[str] = None,
                 timestamp: Optional[str] = None,
                 field: Optional[str] = None, limit: Optional[float] = None,
                 retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.context = context or {}
        self.operation = operation
        self.suggestion = suggestion
        self.timestamp = timestamp
        self.field = field
        self.limit = limit
        self.retry_after = retry_after


class FileSystemError(SandboxError):
    """A file operation failed; ``path`` is the file that was meant."""

    @property
    def path(self) -> Optional[str]:
        return self.context.get("path")


class FileNotFoundInSandboxError(FileSystemError, FileNotFoundError):
    """There is no such file; Python's FileNotFoundError as well."""


class FileExistsInSandboxError(FileSystemError, FileExistsError):
    """It is there already; Python's FileExistsError as well."""


class FileTooLargeError(FileSystemError):
    pass


class PermissionDeniedError(FileSystemError, PermissionError):
    """Python's PermissionError as well."""


class CommandError(SandboxError):
    """A command could not be run, or ran out of time."""


class CommandNotFoundError(CommandError):
    pass


class ProcessError(SandboxError):
    pass


class ProcessNotFoundError(ProcessError):
    pass


class ProcessReadyTimeoutError(ProcessError, TimeoutError):
    """A wait for a process ended by its time limit."""


class ProcessExitedBeforeReadyError(ProcessError):
    """A process ended before what was waited for came."""


class SessionError(SandboxError):
    pass


class SessionAlreadyExistsError(SessionError):
    pass


class SessionDestroyedError(SessionError):
    pass


class SessionTerminatedError(SessionError):
    pass


class PortError(SandboxError):
    pass


class InvalidPortError(PortError, ValueError):
    pass


class PortNotExposedError(PortError):
    pass


class ServiceNotRespondingError(PortError):
    pass


class GitError(SandboxError):
    pass


class InvalidGitUrlError(GitError, ValueError):
    pass


class GitAuthenticationError(GitError):
    pass


class GitRepositoryNotFoundError(GitError):
    pass


class GitBranchNotFoundError(GitError):
    pass


class GitNetworkError(GitError):
    pass


class InterpreterError(SandboxError):
    pass


class InterpreterNotReadyError(InterpreterError):
    pass


class ContextNotFoundError(InterpreterError):
    pass


class CodeExecutionError(InterpreterError):
    pass


class BackupError(SandboxError):
    pass


class BackupNotFoundError(BackupError):
    pass


class BackupExpiredError(BackupError):
    pass


class InvalidBackupConfigError(BackupError, ValueError):
    pass


class ValidationFailedError(SandboxError, ValueError):
    """A member of the request is wrong."""


class UnauthorizedError(SandboxError):
    """The key is missing or wrong."""


class ForbiddenError(SandboxError):
    """The key may not do this."""


class SandboxNotFoundError(SandboxError):
    """There is no such sandbox."""


class SandboxExistsError(SandboxError):
    """The id is taken by a sandbox with other options."""


class LimitExceededError(SandboxError):
    """More than the key or the sandbox may have or do."""


class ContainerUnavailableError(SandboxError):
    """The sandbox doesn't run and couldn't be started now."""


class OperationInterruptedError(SandboxError):
    """What was under way was ended from outside."""


class NotSupportedError(SandboxError):
    """This server can't do what was asked for."""


class ConnectionLostError(SandboxError, ConnectionError):
    """There was no answer, or it broke off: nothing is known of what was
    done."""


_CLASSES: dict[str, type[SandboxError]] = {
    "FILE_NOT_FOUND": FileNotFoundInSandboxError,
    "WORKSPACE_READ_NOT_FOUND": FileNotFoundInSandboxError,
    "FILE_EXISTS": FileExistsInSandboxError,
    "FILE_TOO_LARGE": FileTooLargeError,
    "PAYLOAD_TOO_LARGE": LimitExceededError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "READ_ONLY": PermissionDeniedError,
    "IS_DIRECTORY": FileSystemError,
    "NOT_DIRECTORY": FileSystemError,
    "NO_SPACE": FileSystemError,
    "NAME_TOO_LONG": FileSystemError,
    "FILESYSTEM_ERROR": FileSystemError,
    "COMMAND_NOT_FOUND": CommandNotFoundError,
    "COMMAND_EXECUTION_ERROR": CommandError,
    "INVALID_COMMAND": CommandError,
    "STREAM_START_ERROR": CommandError,
    "EXEC_ERROR": CommandError,
    "PROCESS_NOT_FOUND": ProcessNotFoundError,
    "PROCESS_ERROR": ProcessError,
    "PROCESS_READY_TIMEOUT": ProcessReadyTimeoutError,
    "PROCESS_EXITED_BEFORE_READY": ProcessExitedBeforeReadyError,
    "SESSION_ALREADY_EXISTS": SessionAlreadyExistsError,
    "SESSION_DESTROYED": SessionDestroyedError,
    "SESSION_TERMINATED": SessionTerminatedError,
    "INVALID_PORT": InvalidPortError,
    "PORT_NOT_EXPOSED": PortNotExposedError,
    "TOKEN_IN_USE": PortError,
    "LABEL_TAKEN": PortError,
    "NO_PREVIEW_DOMAIN": PortError,
    "SERVICE_NOT_RESPONDING": ServiceNotRespondingError,
    "INVALID_GIT_URL": InvalidGitUrlError,
    "GIT_AUTH_FAILED": GitAuthenticationError,
    "GIT_REPOSITORY_NOT_FOUND": GitRepositoryNotFoundError,
    "GIT_BRANCH_NOT_FOUND": GitBranchNotFoundError,
    "GIT_NETWORK_ERROR": GitNetworkError,
    "GIT_CLONE_FAILED": GitError,
    "GIT_OPERATION_FAILED": GitError,
    "GIT_NOT_AVAILABLE": NotSupportedError,
    "INTERPRETER_NOT_READY": InterpreterNotReadyError,
    "PYTHON_NOT_AVAILABLE": InterpreterNotReadyError,
    "JAVASCRIPT_NOT_AVAILABLE": InterpreterNotReadyError,
    "CONTEXT_NOT_FOUND": ContextNotFoundError,
    "CODE_EXECUTION_ERROR": CodeExecutionError,
    "BACKUP_NOT_FOUND": BackupNotFoundError,
    "BACKUP_EXPIRED": BackupExpiredError,
    "BACKUP_CREATE_FAILED": BackupError,
    "BACKUP_RESTORE_FAILED": BackupError,
    "INVALID_BACKUP_CONFIG": InvalidBackupConfigError,
    "BACKUP_NOT_AVAILABLE": NotSupportedError,
    "VALIDATION_FAILED": ValidationFailedError,
    "INVALID_REQUEST": ValidationFailedError,
    "INVALID_ID": ValidationFailedError,
    "UNKNOWN_IMAGE": ValidationFailedError,
    "UNENFORCEABLE": ValidationFailedError,
    "UNAUTHORIZED": UnauthorizedError,
    "FORBIDDEN": ForbiddenError,
    "NOT_FOUND": SandboxNotFoundError,
    "EXISTS": SandboxExistsError,
    "QUOTA_EXCEEDED": LimitExceededError,
    "RATE_LIMITED": LimitExceededError,
    "INSUFFICIENT_STORAGE": LimitExceededError,
    "RESOURCE_BUSY": ContainerUnavailableError,
    "BUSY": ContainerUnavailableError,
    "UNAVAILABLE": ContainerUnavailableError,
    "START_FAILED": ContainerUnavailableError,
    "SHUTTING_DOWN": ContainerUnavailableError,
    "SANDBOX_UNREACHABLE": ContainerUnavailableError,
    "OPERATION_INTERRUPTED": OperationInterruptedError,
    "NOT_IMPLEMENTED": NotSupportedError,
    "NOT_SUPPORTED": NotSupportedError,
    "UNSUPPORTED": NotSupportedError,
    "CONNECTION_LOST": ConnectionLostError,
}


def error_for(code: str, message: str, **details: Any) -> SandboxError:
    """The error of a code; one that is unknown is a plain SandboxError."""
    code = code.upper()
    status = details.get("status", 0)
    fallback = {429: LimitExceededError,
                503: ContainerUnavailableError}.get(status, SandboxError)

    return _CLASSES.get(code, fallback)(message, code, **details)


def error_from_response(status: int, body: bytes, retry_after: Optional[str],
                        operation: Optional[str]) -> SandboxError:
    """The error that an answer stands for, in either API's form."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = {}

    if not isinstance(parsed, dict):
        parsed = {}

    def text(name: str) -> Optional[str]:
        value = parsed.get(name)
        return value if isinstance(value, str) else None

    context = parsed.get("context") or parsed.get("details")
    limit = parsed.get("limit")

    try:
        seconds = float(retry_after) if retry_after is not None else None
    except ValueError:
        seconds = None

    return error_for(
        text("code") or f"HTTP_{status}",
        text("message") or text("error")
        or f"the server answered with status {status}",
        status=status, context=context if isinstance(context, dict) else None,
        operation=text("operation") or operation,
        suggestion=text("suggestion"), timestamp=text("timestamp"),
        field=text("field"),
        limit=limit if isinstance(limit, (int, float)) else None,
        retry_after=seconds)
