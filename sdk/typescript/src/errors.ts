/**
 * Errors: every failure is an instance of the class that its code names, so
 * that `catch (e) { if (e instanceof FileNotFoundError) … }` works whatever
 * transported it.
 */

/** What a server says about a failure; members that don't apply are absent. */
export interface ErrorDetails {
  /** Facts about the failure, such as `path` or `exitCode`. */
  context?: Record<string, unknown>;
  /** HTTP status; 0 if there was no answer. */
  status?: number;
  /** What was tried, such as `file.read`. */
  operation?: string;
  /** What may help, for people. */
  suggestion?: string;
  /** When it happened: ISO 8601. */
  timestamp?: string;
  /** The member of the request that is wrong. */
  field?: string;
  /** The limit that was exceeded. */
  limit?: number;
  /** Milliseconds after which trying again makes sense. */
  retryAfterMs?: number;
  cause?: unknown;
}

/** The base of all errors that this library throws. */
export class SandboxError extends Error {
  /** For programs: `FILE_NOT_FOUND`, `UNAUTHORIZED`, … */
  readonly code: string;
  readonly context: Record<string, unknown>;
  /** HTTP status; 0 if there was no answer. */
  readonly httpStatus: number;
  readonly operation?: string;
  readonly suggestion?: string;
  readonly timestamp?: string;
  readonly field?: string;
  readonly limit?: number;
  readonly retryAfterMs?: number;

  constructor(message: string, code: string, details: ErrorDetails = {}) {
    super(message,
      details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.context = details.context ?? {};
    this.httpStatus = details.status ?? 0;
    this.operation = details.operation;
    this.suggestion = details.suggestion;
    this.timestamp = details.timestamp;
    this.field = details.field;
    this.limit = details.limit;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** The same as `httpStatus`. */
  get status(): number {
    return this.httpStatus;
  }
}

/** A file operation failed; the more exact classes extend it. */
export class FileSystemError extends SandboxError {
  /** The path that was meant, if the server names one. */
  get path(): string | undefined {
    const path = this.context['path'];
    return typeof path === 'string' ? path : undefined;
  }
}
export class FileNotFoundError extends FileSystemError {}
export class FileExistsError extends FileSystemError {}
export class FileTooLargeError extends FileSystemError {}
export class PermissionDeniedError extends FileSystemError {}

/** A command could not be run, or ran out of time. */
export class CommandError extends SandboxError {
  get command(): string | undefined {
    const command = this.context['command'];
    return typeof command === 'string' ? command : undefined;
  }
}
export class CommandNotFoundError extends CommandError {}

export class ProcessError extends SandboxError {
  get processId(): string | undefined {
    const id = this.context['processId'];
    return typeof id === 'string' ? id : undefined;
  }
}
export class ProcessNotFoundError extends ProcessError {}
/** A wait for a process ended by its time limit. */
export class ProcessReadyTimeoutError extends ProcessError {}
/** A process ended before what was waited for came. */
export class ProcessExitedBeforeReadyError extends ProcessError {}

export class SessionError extends SandboxError {
  get sessionId(): string | undefined {
    const id = this.context['sessionId'];
    return typeof id === 'string' ? id : undefined;
  }
}
export class SessionAlreadyExistsError extends SessionError {}
export class SessionDestroyedError extends SessionError {}
export class SessionTerminatedError extends SessionError {}

export class PortError extends SandboxError {}
export class InvalidPortError extends PortError {}
export class PortAlreadyExposedError extends PortError {}
export class PortNotExposedError extends PortError {}
export class PortInUseError extends PortError {}
export class ServiceNotRespondingError extends PortError {}
export class CustomDomainRequiredError extends PortError {}

export class GitError extends SandboxError {}
export class InvalidGitUrlError extends GitError {}
export class GitAuthenticationError extends GitError {}
export class GitRepositoryNotFoundError extends GitError {}
export class GitBranchNotFoundError extends GitError {}
export class GitNetworkError extends GitError {}
export class GitCloneError extends GitError {}
export class GitCheckoutError extends GitError {}

export class InterpreterError extends SandboxError {}
export class InterpreterNotReadyError extends InterpreterError {}
export class ContextNotFoundError extends InterpreterError {}
export class CodeExecutionError extends InterpreterError {}

export class BackupError extends SandboxError {}
export class BackupNotFoundError extends BackupError {}
export class BackupExpiredError extends BackupError {}
export class BackupCreateError extends BackupError {}
export class BackupRestoreError extends BackupError {}
export class InvalidBackupConfigError extends BackupError {}

export class BucketMountError extends SandboxError {}
export class BucketUnmountError extends SandboxError {}
export class S3FSMountError extends SandboxError {}
export class MissingCredentialsError extends SandboxError {}
export class InvalidMountConfigError extends SandboxError {}

/** A member of the request is wrong; `field` or the context names it. */
export class ValidationFailedError extends SandboxError {}

/** The key is missing or wrong. */
export class UnauthorizedError extends SandboxError {}
/** The key may not do this. */
export class ForbiddenError extends SandboxError {}
/** There is no such sandbox. */
export class SandboxNotFoundError extends SandboxError {}
/** The id is taken by a sandbox with other options. */
export class SandboxExistsError extends SandboxError {}
/** More than the key or the sandbox may have or do. */
export class LimitExceededError extends SandboxError {}
/** The sandbox doesn't run and couldn't be started now; try again. */
export class ContainerUnavailableError extends SandboxError {}
/** What was under way was ended from outside, such as by `destroy()`. */
export class OperationInterruptedError extends SandboxError {}
/** An argument that can't be sent at all. */
export class SandboxSecurityError extends SandboxError {}
/** This server can't do what was asked for. */
export class NotSupportedError extends SandboxError {}

/**
 * There was no answer, or it broke off: nothing is known of what the sandbox
 * did.  It is not a failed command, which is a result or another error.
 */
export class ConnectionLostError extends SandboxError {}

type ErrorClass = new (message: string, code: string,
  details?: ErrorDetails) => SandboxError;

/** Codes of both APIs, the control API's in upper case. */
const classes: Readonly<Record<string, ErrorClass>> = {
  FILE_NOT_FOUND: FileNotFoundError,
  WORKSPACE_READ_NOT_FOUND: FileNotFoundError,
  FILE_EXISTS: FileExistsError,
  FILE_TOO_LARGE: FileTooLargeError,
  PAYLOAD_TOO_LARGE: LimitExceededError,
  PERMISSION_DENIED: PermissionDeniedError,
  READ_ONLY: PermissionDeniedError,
  IS_DIRECTORY: FileSystemError,
  NOT_DIRECTORY: FileSystemError,
  NO_SPACE: FileSystemError,
  NAME_TOO_LONG: FileSystemError,
  TOO_MANY_FILES: FileSystemError,
  TOO_MANY_LINKS: FileSystemError,
  FILESYSTEM_ERROR: FileSystemError,
  COMMAND_NOT_FOUND: CommandNotFoundError,
  COMMAND_PERMISSION_DENIED: CommandError,
  COMMAND_EXECUTION_ERROR: CommandError,
  INVALID_COMMAND: CommandError,
  STREAM_START_ERROR: CommandError,
  PROCESS_NOT_FOUND: ProcessNotFoundError,
  PROCESS_PERMISSION_DENIED: ProcessError,
  PROCESS_ERROR: ProcessError,
  PROCESS_READY_TIMEOUT: ProcessReadyTimeoutError,
  PROCESS_EXITED_BEFORE_READY: ProcessExitedBeforeReadyError,
  SESSION_ALREADY_EXISTS: SessionAlreadyExistsError,
  SESSION_DESTROYED: SessionDestroyedError,
  SESSION_TERMINATED: SessionTerminatedError,
  INVALID_PORT: InvalidPortError,
  INVALID_PORT_NUMBER: InvalidPortError,
  PORT_ALREADY_EXPOSED: PortAlreadyExposedError,
  PORT_NOT_EXPOSED: PortNotExposedError,
  PORT_IN_USE: PortInUseError,
  TOKEN_IN_USE: PortError,
  LABEL_TAKEN: PortError,
  PORT_OPERATION_ERROR: PortError,
  SERVICE_NOT_RESPONDING: ServiceNotRespondingError,
  CUSTOM_DOMAIN_REQUIRED: CustomDomainRequiredError,
  NO_PREVIEW_DOMAIN: CustomDomainRequiredError,
  INVALID_GIT_URL: InvalidGitUrlError,
  GIT_AUTH_FAILED: GitAuthenticationError,
  GIT_REPOSITORY_NOT_FOUND: GitRepositoryNotFoundError,
  GIT_BRANCH_NOT_FOUND: GitBranchNotFoundError,
  GIT_NETWORK_ERROR: GitNetworkError,
  GIT_CLONE_FAILED: GitCloneError,
  GIT_CHECKOUT_FAILED: GitCheckoutError,
  GIT_OPERATION_FAILED: GitError,
  GIT_NOT_AVAILABLE: NotSupportedError,
  INTERPRETER_NOT_READY: InterpreterNotReadyError,
  PYTHON_NOT_AVAILABLE: InterpreterNotReadyError,
  JAVASCRIPT_NOT_AVAILABLE: InterpreterNotReadyError,
  CONTEXT_NOT_FOUND: ContextNotFoundError,
  CODE_EXECUTION_ERROR: CodeExecutionError,
  BACKUP_NOT_FOUND: BackupNotFoundError,
  BACKUP_EXPIRED: BackupExpiredError,
  BACKUP_CREATE_FAILED: BackupCreateError,
  BACKUP_RESTORE_FAILED: BackupRestoreError,
  INVALID_BACKUP_CONFIG: InvalidBackupConfigError,
  BACKUP_NOT_AVAILABLE: NotSupportedError,
  BUCKET_MOUNT_ERROR: BucketMountError,
  BUCKET_UNMOUNT_ERROR: BucketUnmountError,
  S3FS_MOUNT_ERROR: S3FSMountError,
  MISSING_CREDENTIALS: MissingCredentialsError,
  INVALID_MOUNT_CONFIG: InvalidMountConfigError,
  VALIDATION_FAILED: ValidationFailedError,
  INVALID_REQUEST: ValidationFailedError,
  INVALID_ID: ValidationFailedError,
  UNKNOWN_IMAGE: ValidationFailedError,
  UNENFORCEABLE: ValidationFailedError,
  UNAUTHORIZED: UnauthorizedError,
  FORBIDDEN: ForbiddenError,
  NOT_FOUND: SandboxNotFoundError,
  EXISTS: SandboxExistsError,
  QUOTA_EXCEEDED: LimitExceededError,
  RATE_LIMITED: LimitExceededError,
  INSUFFICIENT_STORAGE: LimitExceededError,
  RESOURCE_BUSY: ContainerUnavailableError,
  BUSY: ContainerUnavailableError,
  UNAVAILABLE: ContainerUnavailableError,
  START_FAILED: ContainerUnavailableError,
  SHUTTING_DOWN: ContainerUnavailableError,
  SANDBOX_UNREACHABLE: ContainerUnavailableError,
  CONTAINER_UNAVAILABLE: ContainerUnavailableError,
  OPERATION_INTERRUPTED: OperationInterruptedError,
  NOT_IMPLEMENTED: NotSupportedError,
  NOT_SUPPORTED: NotSupportedError,
  UNSUPPORTED: NotSupportedError,
  CONNECTION_LOST: ConnectionLostError,
};

/** The error for a code; one that is unknown is a plain SandboxError. */
export function errorFor(code: string, message: string,
  details: ErrorDetails = {}): SandboxError {
  const upper = code.toUpperCase();
  const known = Object.hasOwn(classes, upper) ? classes[upper] : undefined;
  const byStatus = details.status === 503 ? ContainerUnavailableError
    : details.status === 429 ? LimitExceededError : SandboxError;

  return new (known ?? byStatus)(message, upper, details);
}

interface ErrorBody {
  error?: unknown;
  code?: unknown;
  message?: unknown;
  context?: unknown;
  details?: unknown;
  operation?: unknown;
  suggestion?: unknown;
  timestamp?: unknown;
  field?: unknown;
  limit?: unknown;
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;
const number = (value: unknown): number | undefined =>
  typeof value === 'number' ? value : undefined;
const object = (value: unknown): Record<string, unknown> | undefined =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? value as Record<string, unknown> : undefined;

/** The error that an HTTP answer stands for; both APIs' forms are read. */
export function errorFromResponse(status: number, body: string,
  retryAfter: string | null, operation?: string): SandboxError {
  let parsed: ErrorBody = {};

  try {
    parsed = object(JSON.parse(body)) ?? {};
  } catch {
    // A proxy's page, or nothing at all: the status has to do.
  }

  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  const message = text(parsed.message) ?? text(parsed.error)
    ?? `The server answered with status ${status}`;

  return errorFor(text(parsed.code) ?? `HTTP_${status}`, message, {
    status,
    context: object(parsed.context) ?? object(parsed.details),
    operation: text(parsed.operation) ?? operation,
    suggestion: text(parsed.suggestion),
    timestamp: text(parsed.timestamp),
    field: text(parsed.field),
    limit: number(parsed.limit),
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
  });
}
