/** What a sandbox and a session of it have in common. */

import type { CallOptions } from './client.js';
import * as commands from './commands.js';
import * as files from './files.js';
import type { Interpreter } from './interpreter.js';
import * as processes from './processes.js';
import type { Process } from './processes.js';
import * as storage from './storage.js';
import type { Target } from './target.js';
import { terminal } from './terminal.js';
import type * as t from './types.js';

export abstract class Operations {
  /** @internal */
  protected readonly target: Target;
  readonly #interpreter: Interpreter;

  protected constructor(target: Target, interpreter: Interpreter) {
    this.target = target;
    this.#interpreter = interpreter;
  }

  /**
   * Runs a command of bash and waits for its end.  A command that fails is a
   * result; an error means that it couldn't be run, or that its end is unknown.
   * Aborting stops the waiting: to end the command as well, give it a `timeout`
   * or start it with `startProcess()`.
   */
  exec(command: string, options?: t.ExecOptions): Promise<t.ExecResult> {
    return commands.exec(this.target, command, options);
  }

  /** The same with its events as they come, for `parseSSEStream<ExecEvent>()`.
   *  What it changes in the session's shell is lost. */
  execStream(command: string, options?: t.StreamOptions):
    Promise<ReadableStream<Uint8Array>> {
    return commands.execStream(this.target, command, options);
  }

  /** Starts a process that runs beside the commands. */
  startProcess(command: string, options?: t.ProcessOptions): Promise<Process> {
    return processes.startProcess(this.target, command, options);
  }

  /** All processes of the sandbox, those that have ended too. */
  listProcesses(options?: CallOptions): Promise<Process[]> {
    return processes.listProcesses(this.target, options);
  }

  /** `null` if there is none. */
  getProcess(id: string, options?: CallOptions): Promise<Process | null> {
    return processes.getProcess(this.target, id, options);
  }

  /** Ends a process with all that it has started: the signal (SIGTERM), after
   *  five seconds SIGKILL. */
  killProcess(id: string, signal?: string, options?: CallOptions):
    Promise<void> {
    return processes.killProcess(this.target, id, signal, options);
  }

  /** How many were running. */
  killAllProcesses(options?: CallOptions): Promise<number> {
    return processes.killAllProcesses(this.target, options);
  }

  /** The server does this by itself: 0, as in the Cloudflare SDK. */
  async cleanupCompletedProcesses(): Promise<number> {
    return 0;
  }

  getProcessLogs(id: string, options?: CallOptions):
    Promise<{ stdout: string; stderr: string; processId: string }> {
    return processes.getProcessLogs(this.target, id, options);
  }

  /** Output from its beginning, or from offsets, and the end; for
   *  `parseSSEStream<ProcessLogEvent>()`. */
  streamProcessLogs(id: string, options?: CallOptions & {
    stdoutOffset?: number; stderrOffset?: number; offsets?: boolean }):
    Promise<ReadableStream<Uint8Array>> {
    return processes.streamProcessLogs(this.target, id, options);
  }

  /** Replaces a file as a whole, or not at all; missing directories are made.
   *  Bytes and streams go raw; relative paths of these begin at `/workspace`. */
  writeFile(path: string, content: string | Uint8Array | Blob
    | ReadableStream<Uint8Array>, options?: CallOptions & {
    encoding?: t.FileEncoding }): Promise<t.WriteFileResult> {
    return files.writeFile(this.target, path, content, options);
  }

  /** Without an encoding the file's type decides between text and base64; with
   *  `none` the content is a stream of bytes, of any size. */
  readFile(path: string, options: CallOptions & { encoding: 'none' }):
    Promise<t.FileBytesResult>;
  readFile(path: string, options?: CallOptions & {
    encoding?: t.FileEncoding }): Promise<t.ReadFileResult>;
  readFile(path: string, options?: CallOptions & {
    encoding?: t.FileEncoding | 'none' }):
    Promise<t.ReadFileResult | t.FileBytesResult> {
    return files.readFile(this.target, path, options);
  }

  /** For `streamFile()` and `collectFile()`. */
  readFileStream(path: string, options?: CallOptions):
    Promise<ReadableStream<Uint8Array>> {
    return files.readFileStream(this.target, path, options);
  }

  exists(path: string, options?: CallOptions):
    Promise<t.FileResult & { exists: boolean }> {
    return files.exists(this.target, path, options);
  }

  mkdir(path: string, options?: CallOptions & { recursive?: boolean }):
    Promise<t.FileResult & { recursive: boolean }> {
    return files.mkdir(this.target, path, options);
  }

  listFiles(path: string, options?: CallOptions & { recursive?: boolean;
    includeHidden?: boolean }): Promise<t.ListFilesResult> {
    return files.listFiles(this.target, path, options);
  }

  /** A file; for directories there is `exec('rm -r …')`. */
  deleteFile(path: string, options?: CallOptions): Promise<t.FileResult> {
    return files.deleteFile(this.target, path, options);
  }

  renameFile(oldPath: string, newPath: string, options?: CallOptions):
    Promise<t.FileResult & { newPath: string }> {
    return files.renameFile(this.target, oldPath, newPath, options);
  }

  moveFile(sourcePath: string, destinationPath: string,
    options?: CallOptions): Promise<t.FileResult & { newPath: string }> {
    return files.moveFile(this.target, sourcePath, destinationPath, options);
  }

  /** Changes below a directory as they happen, for
   *  `parseSSEStream<WatchEvent>()`. */
  watch(path: string, options?: t.WatchOptions):
    Promise<ReadableStream<Uint8Array>> {
    return files.watch(this.target, path, options);
  }

  /** Whether something has changed since an earlier check. */
  checkChanges(path: string, options?: t.WatchOptions & { since?: string }):
    Promise<t.CheckChangesResult> {
    return files.checkChanges(this.target, path, options);
  }

  /** Extracts a tar archive, uncompressed, over a directory. */
  uploadArchive(path: string, archive: Uint8Array | Blob
    | ReadableStream<Uint8Array>, options?: CallOptions):
    Promise<t.FileResult> {
    return files.uploadArchive(this.target, path, archive, options);
  }

  /** A directory as a tar archive. */
  downloadArchive(path: string, options?: CallOptions & {
    excludes?: string[] }): Promise<ReadableStream<Uint8Array>> {
    return files.downloadArchive(this.target, path, options);
  }

  /** Clones a repository.  Credentials in the URL are used and written
   *  nowhere.  Aborting ends the clone and removes what it made. */
  gitCheckout(repoUrl: string, options: t.GitCheckoutOptions = {}):
    Promise<t.GitCheckoutResult> {
    const { branch, targetDir, depth, cloneTimeoutMs, sessionId } = options;

    return this.target.post('git/checkout', { repoUrl, branch, targetDir,
      depth, timeoutMs: cloneTimeoutMs,
      sessionId: sessionId ?? this.target.sessionId }, 'git.checkout', options);
  }

  createCodeContext(options?: t.CreateContextOptions):
    Promise<t.CodeContext> {
    return this.#interpreter.createCodeContext(options);
  }

  /** Runs a cell of code.  What it throws is in the result's `error`.  Aborting
   *  interrupts the cell. */
  runCode(code: string, options?: t.RunCodeOptions):
    Promise<t.ExecutionResult> {
    return this.#interpreter.runCode(code, options);
  }

  /** For `parseSSEStream<CodeEvent>()`. */
  runCodeStream(code: string, options?: t.RunCodeOptions):
    Promise<ReadableStream<Uint8Array>> {
    return this.#interpreter.runCodeStream(code, options);
  }

  listCodeContexts(options?: CallOptions): Promise<t.CodeContext[]> {
    return this.#interpreter.listCodeContexts(options);
  }

  deleteCodeContext(id: string, options?: CallOptions): Promise<void> {
    return this.#interpreter.deleteCodeContext(id, options);
  }

  /** The session's terminal: a WebSocket for xterm.js; see `SandboxAddon` in
   *  `ngx-sandbox/xterm`. */
  terminal(options?: t.TerminalOptions): Promise<WebSocket> {
    return terminal(this.target, options);
  }

  /** Saves a directory inside the sandbox. */
  createBackup(options: t.BackupOptions): Promise<t.DirectoryBackup> {
    return storage.createBackup(this.target, options);
  }

  /** Replaces a directory's contents by those of a backup, all or nothing. */
  restoreBackup(backup: t.DirectoryBackup, options?: CallOptions):
    Promise<t.RestoreBackupResult> {
    return storage.restoreBackup(this.target, backup, options);
  }

  /** Not supported by this server: throws NotSupportedError. */
  async mountBucket(..._ignored: unknown[]): Promise<void> {
    storage.bucketsNotSupported('bucket.mount');
  }

  /** Not supported by this server: throws NotSupportedError. */
  async unmountBucket(..._ignored: unknown[]): Promise<void> {
    storage.bucketsNotSupported('bucket.unmount');
  }
}
