/** What goes in and comes out; named as in the Cloudflare Sandbox SDK. */

import type { CallOptions } from './client.js';

/** Values of variables; `null` and `undefined` take one away. */
export type EnvVars = Readonly<Record<string, string | null | undefined>>;

/** `"90s"`, `"10m"`, `"2h"`, or a number of seconds: 1 s to 30 days. */
export type Duration = string | number;

export interface ContainerTimeouts {
  /** Wait for a free start, in ms: 5000 to 300000.  Default 30000. */
  instanceGetTimeoutMS?: number;
  /** The start itself, in ms: 10000 to 600000.  Default 90000. */
  portReadyTimeoutMS?: number;
  /** In ms: 100 to 5000. */
  waitIntervalMS?: number;
}

export interface Resources {
  /** Processors: 0.01 to 1024. */
  cpu?: number;
  /** Bytes, or like `"512M"`, `"2G"`: 16 MiB to 16 TiB. */
  memory?: number | string;
  /** Of the writable layer; as `memory`. */
  disk?: number | string;
  /** Processes and threads: 16 to 4194304. */
  pids?: number;
}

/** Where what runs inside may connect to.  What the server can't enforce, it
 *  refuses. */
export interface NetworkOptions {
  /** `none` (default), `on`, or networks (`203.0.113.0/24`) and names. */
  outbound?: 'none' | 'on' | { allow: readonly string[] };
  /** Bytes a second, each way: 16384 to 4294967296, or `"10M"`. */
  bandwidth?: number | string | null;
}

/** How a sandbox is made; all of it may be left out. */
export interface SandboxOptions {
  /** Idle time after which it sleeps.  Default `"10m"`. */
  sleepAfter?: Duration;
  /** It never sleeps by itself. */
  keepAlive?: boolean;
  /** Folds upper case in the id instead of refusing it. */
  normalizeId?: boolean;
  containerTimeouts?: ContainerTimeouts;
  /** `false`: commands have no session unless one is named.  Default `true`. */
  enableDefaultSession?: boolean;
  /** At most 32; values of 256 bytes. */
  labels?: Readonly<Record<string, string>>;
  /** Name of an image of the server. */
  image?: string;
  resources?: Resources;
  network?: NetworkOptions;
  /** Environment of everything inside. */
  env?: Readonly<Record<string, string>>;
}

/** What the server tells about a sandbox. */
export interface SandboxRecord {
  id: string;
  state: 'created' | 'starting' | 'running' | 'sleeping' | 'asleep'
    | 'destroying' | 'unreachable';
  /** Counts its starts; 0 before the first. */
  epoch: number;
  image: string | null;
  createdAt: string;
  startedAt: string | null;
  /** When its `ttl` ends. */
  expiresAt: string | null;
  /** Why it last stopped or didn't start. */
  reason: string | null;
  /** Its processes that were ended for want of memory, in all of its runs. */
  oom?: { kills: number; at: string | null; process: string | null } | null;
  labels: Record<string, string>;
  /** Names of its variables; values aren't told. */
  env: string[];
  resources: Resources;
  /** Of those, defaults that its host can't enforce. */
  unenforced: string[];
  /** `null` for one that others run. */
  network: NetworkOptions | null;
  options: Record<string, unknown>;
  /** `start`, `sleep` and `fork` are false for one that others run. */
  driver: {
    name: string;
    kernelIsolation: boolean;
    memorySnapshot: boolean;
    start: boolean;
    sleep: boolean;
    fork: boolean;
    /** Of virtual machines; under `tcg` QEMU promises no isolation. */
    accel?: 'kvm' | 'tcg';
    /** By which its agent is reached; not for one that others run. */
    channel?: 'unix' | 'tap' | 'vsock' | 'vhost-user-vsock' | 'vhost-vsock';
  };
  [member: string]: unknown;
}

/** As the Cloudflare SDK names states, with the server's own beside it. */
export interface SandboxState {
  status: 'running' | 'stopping' | 'stopped';
  /** `created`, `starting`, `running`, `sleeping`, `asleep`, `destroying`. */
  state: SandboxRecord['state'];
  /** Of the last start, in ms since 1970; 0: never started. */
  lastChange: number;
  reason: string | null;
}

export interface ExecOptions extends CallOptions {
  /** Directory to run in; the session's is as before afterwards. */
  cwd?: string;
  /** For this command only. */
  env?: EnvVars;
  /** ms; then the command and its children are ended. */
  timeout?: number;
  /** Standard input; without it the command has none. */
  stdin?: string;
  /** With `onOutput`: output as it comes. */
  stream?: boolean;
  onOutput?: (stream: 'stdout' | 'stderr', data: string) => void;
  onComplete?: (result: ExecResult) => void;
  onError?: (error: Error) => void;
}

export interface ExecResult {
  /** `exitCode === 0`. */
  success: boolean;
  exitCode: number;
  stdout: string;
  stderr: string;
  command: string;
  /** ms. */
  duration: number;
  timestamp: string;
  sessionId?: string;
}

export interface StreamOptions extends CallOptions {
  cwd?: string;
  env?: EnvVars;
  /** ms. */
  timeout?: number;
  stdin?: string;
  /** Runs in another session's state. */
  sessionId?: string;
  /** The process's id, to come back to it. */
  processId?: string;
}

/** Events of `execStream()`; exactly one `complete` or `error` is the last. */
export type ExecEvent =
  | { type: 'start'; command: string; timestamp: string }
  | { type: 'stdout' | 'stderr'; data: string; timestamp: string }
  | { type: 'complete'; exitCode: number; timestamp: string }
  | { type: 'error'; error: string; data?: string; code?: string;
      timestamp: string };

export type ProcessStatus = 'starting' | 'running' | 'completed' | 'failed'
  | 'killed' | 'error';

export interface ProcessOptions extends CallOptions {
  /** Chosen id; else the server makes one. */
  processId?: string;
  sessionId?: string;
  cwd?: string;
  env?: EnvVars;
  /** ms; then it is ended, with exit code 124. */
  timeout?: number;
  /** What its standard input begins with. */
  stdin?: string;
  /** Keeps its input open for `writeStdin()`. */
  stdinOpen?: boolean;
  /** Taken and ignored, as by the Cloudflare SDK. */
  autoCleanup?: boolean;
  onStart?: (process: unknown) => void;
  onOutput?: (stream: 'stdout' | 'stderr', data: string) => void;
  onExit?: (code: number | null) => void;
  onError?: (error: Error) => void;
}

export interface ProcessInfo {
  id: string;
  pid?: number;
  command: string;
  status: ProcessStatus;
  startTime: string;
  endTime?: string;
  exitCode?: number;
}

/** Events of `streamProcessLogs()`. */
export type ProcessLogEvent =
  | { type: 'process_info'; processId: string; command: string;
      status: ProcessStatus; timestamp: string }
  | { type: 'stdout' | 'stderr'; data: string; processId: string;
      timestamp: string; offset?: number; next?: number }
  | { type: 'dropped'; stream: 'stdout' | 'stderr'; bytes: number;
      next: number }
  | { type: 'exit'; processId: string; exitCode: number; data: string;
      timestamp: string }
  | { type: 'error'; error: string; data?: string; code?: string };

export interface WaitForLogResult {
  /** The whole line. */
  line: string;
  /** The groups of a regular expression, the match first. */
  match?: string[];
}

export interface WaitForPortOptions extends CallOptions {
  /** Default `http`. */
  mode?: 'http' | 'tcp';
  /** Default `/`. */
  path?: string;
  /** Statuses that count.  Default 200 to 399. */
  status?: number | { min: number; max: number };
  /** ms; default none. */
  timeout?: number;
  /** ms between looks: 100 to 10000.  Default 500. */
  interval?: number;
}

export type FileEncoding = 'utf-8' | 'utf8' | 'base64';

export interface ReadFileResult {
  success: boolean;
  path: string;
  content: string;
  encoding: 'utf-8' | 'base64';
  isBinary: boolean;
  mimeType: string;
  /** Bytes. */
  size: number;
  timestamp: string;
}

export interface FileBytesResult extends Omit<ReadFileResult, 'content'
  | 'encoding'> {
  content: ReadableStream<Uint8Array>;
  encoding: 'none';
}

export interface WriteFileResult {
  success: boolean;
  path: string;
  bytesWritten?: number;
  timestamp: string;
}

export interface FileInfo {
  name: string;
  absolutePath: string;
  relativePath: string;
  type: 'file' | 'directory' | 'symlink' | 'other';
  /** Bytes. */
  size: number;
  /** ISO 8601, UTC. */
  modifiedAt: string;
  /** Like `rwxr-xr-x`. */
  mode: string;
  permissions: { readable: boolean; writable: boolean; executable: boolean };
}

export interface FileResult {
  success: boolean;
  path: string;
  timestamp: string;
}

export interface ListFilesResult extends FileResult {
  files: FileInfo[];
  count: number;
}

/** Events of `readFileStream()`. */
export type FileStreamEvent =
  | { type: 'metadata'; mimeType: string; size: number; isBinary: boolean;
      encoding: 'utf-8' | 'base64' }
  | { type: 'chunk'; data: string }
  | { type: 'complete'; bytesRead: number }
  | { type: 'error'; error: string; code?: string };

export interface FileMetadata {
  mimeType: string;
  size: number;
  isBinary: boolean;
  encoding: 'utf-8' | 'base64';
}

export type WatchEventType = 'create' | 'modify' | 'delete' | 'move_from'
  | 'move_to' | 'attrib';

export interface WatchOptions extends CallOptions {
  /** Default `true`. */
  recursive?: boolean;
  events?: WatchEventType[];
  /** Patterns with `*`, `**`, `?`; not together with `exclude`. */
  include?: string[];
  exclude?: string[];
  sessionId?: string;
}

/** Events of `watch()`. */
export type WatchEvent =
  | { type: 'watching'; path: string; watchId: string }
  | { type: 'event'; eventType: WatchEventType; path: string;
      isDirectory: boolean; timestamp: string; pathBase64?: string }
  | { type: 'resync'; reason: string; timestamp: string }
  | { type: 'stopped'; reason: string }
  | { type: 'error'; error: string };

export interface CheckChangesResult {
  success: boolean;
  status: 'unchanged' | 'changed' | 'resync';
  reason?: 'expired' | 'restarted';
  /** For `since` of the next check. */
  version: string;
  timestamp: string;
}

export interface GitCheckoutOptions extends CallOptions {
  branch?: string;
  /** Default: the repository's name in `/workspace`. */
  targetDir?: string;
  depth?: number;
  /** ms.  Default 600000. */
  cloneTimeoutMs?: number;
  sessionId?: string;
}

export interface GitCheckoutResult {
  success: boolean;
  repoUrl: string;
  branch: string;
  targetDir: string;
  timestamp: string;
}

export interface SessionOptions extends CallOptions {
  /** Default `session-<ms>`. */
  id?: string;
  /** Default `/workspace`. */
  cwd?: string;
  env?: EnvVars;
  /** Limit of each command that has none of its own, in ms. */
  commandTimeoutMs?: number;
}

export type CodeLanguage = 'python' | 'javascript' | 'typescript';

export interface CreateContextOptions extends CallOptions {
  /** Default `python`. */
  language?: CodeLanguage;
  cwd?: string;
  envVars?: EnvVars;
  /** ms, for each cell that has none of its own. */
  timeout?: number;
}

export interface CodeContext {
  id: string;
  language: CodeLanguage;
  cwd: string;
}

/** One result of a cell, in the formats that it has. */
export interface Result {
  text?: string;
  html?: string;
  png?: string;
  jpeg?: string;
  svg?: string;
  latex?: string;
  markdown?: string;
  javascript?: string;
  json?: unknown;
  chart?: ChartData;
}

export interface ChartData {
  type: 'line' | 'bar' | 'scatter' | 'pie' | 'histogram' | 'heatmap'
    | 'unknown';
  title?: string;
  data: unknown;
  layout?: unknown;
  config?: unknown;
  library?: string;
}

export interface OutputMessage {
  text: string;
  timestamp: number;
}

export interface ExecutionError {
  name: string;
  message: string;
  /** The same as `message`. */
  value: string;
  traceback: string[];
}

export interface RunCodeOptions extends CallOptions {
  /** Without one the default context of the language is used. */
  context?: CodeContext;
  /** Default `python`. */
  language?: CodeLanguage;
  envVars?: EnvVars;
  /** ms; the context's state lives on. */
  timeout?: number;
  onStdout?: (output: OutputMessage) => void | Promise<void>;
  onStderr?: (output: OutputMessage) => void | Promise<void>;
  onResult?: (result: Result) => void | Promise<void>;
  onError?: (error: ExecutionError) => void | Promise<void>;
}

export interface ExecutionResult {
  code: string;
  logs: { stdout: string[]; stderr: string[] };
  error?: ExecutionError;
  executionCount?: number;
  results: Result[];
}

/** Events of `runCodeStream()`. */
export type CodeEvent =
  | { type: 'stdout' | 'stderr'; text: string }
  | ({ type: 'result'; metadata?: Record<string, unknown> } & Result)
  | { type: 'execution_complete'; execution_count: number }
  | { type: 'error'; ename: string; evalue: string; traceback: string[];
      name?: string; message?: string; value?: string; code?: string };

export type PortAccess = 'token' | 'public' | 'private';

export interface ExposePortOptions extends CallOptions {
  /** Preview domain, `domain` or `domain:port`, where there are several. */
  hostname?: string;
  name?: string;
  /** 8 to 16 of `[a-z0-9_]`; else the server makes one. */
  token?: string;
  /** Default `token`. */
  access?: PortAccess;
  /** The `Host` that the service sees.  Default `local`. */
  host?: 'local' | 'public';
  /** Host names of its own, of a port that is public or private. */
  hostnames?: string[];
  /** Whether visitors wake the sandbox.  Default `on`. */
  wake?: 'on' | 'off';
  /** How often they do at most.  Default 60. */
  wakesPerMinute?: number;
  /** Of its visitors, by the API's names; `bandwidthOut: '10M'`, for example. */
  limits?: Record<string, number | string>;
}

export interface ExposedPort {
  url: string;
  port: number;
  token: string | null;
  name: string | null;
  access: PortAccess;
  host: 'local' | 'public';
  hostnames: string[];
  wake: 'on' | 'off';
  wakesPerMinute: number;
  status?: 'active';
}

export interface PreviewLinkOptions extends CallOptions {
  /** How long the link works: 1 s to 30 days.  Default `"1h"`. */
  expires?: Duration;
  /** Where it leads: begins with one slash.  Default `/`. */
  path?: string;
  /** May be shown in a frame of another site. */
  embed?: boolean;
  hostname?: string;
}

export interface PreviewLink {
  url: string;
  /** ISO 8601. */
  expiresAt: string;
}

export interface TicketOptions extends CallOptions {
  /** The `Origin` of the page that will use it, letter by letter, such as
   *  `https://app.example.com`. */
  origin: string;
  /** What it opens: `/pty`, or a path below `/proxy/{port}`.  Default `/pty`. */
  route?: string;
  /** 1 to 60 seconds.  Default 60. */
  expires?: number;
}

/** Opens one WebSocket from a page that has no key. */
export interface Ticket {
  ticket: string;
  /** A subprotocol: `new WebSocket(url, [protocol])`. */
  protocol: string;
  /** Address of the WebSocket, without a query. */
  url: string;
  /** Seconds. */
  expiresIn: number;
}

export interface TerminalOptions extends CallOptions {
  cols?: number;
  rows?: number;
  /** Program in the session's `PATH`, or an absolute path.  Default `bash`. */
  shell?: string;
  /** Default: the default session. */
  sessionId?: string;
}

export interface BackupOptions extends CallOptions {
  /** Below `/workspace`, `/home`, `/tmp`, `/var/tmp` or `/app`. */
  dir: string;
  name?: string;
  /** Seconds that it can be restored.  Default 259200, three days. */
  ttl?: number;
  /** Leaves out what git ignores. */
  gitignore?: boolean;
  excludes?: string[];
  compression?: { format?: 'lz4' | 'gzip' | 'zstd'; threads?: number };
}

/** A backup in the sandbox's own `/var/backups`; gone when it is destroyed. */
export interface DirectoryBackup {
  id: string;
  dir: string;
}

export interface RestoreBackupResult {
  success: true;
  id: string;
  dir: string;
}

export interface ListSandboxesOptions extends CallOptions {
  /** A page, 1 to 500. */
  limit?: number;
  cursor?: string;
}
