/** Processes: what runs beside the commands. */

import type { CallOptions } from './client.js';
import { ProcessExitedBeforeReadyError, ProcessNotFoundError,
  ProcessReadyTimeoutError } from './errors.js';
import { parseSSEStream } from './sse.js';
import { signalOf, streamCut, streamError, type Target } from './target.js';
import type { ProcessInfo, ProcessLogEvent, ProcessOptions, ProcessStatus,
  WaitForLogResult, WaitForPortOptions } from './types.js';

const path = (id: string, rest = '') =>
  `process/${encodeURIComponent(id)}${rest}`;

/** A process of a sandbox, as it was when it was asked for. */
export class Process {
  readonly id: string;
  readonly pid?: number;
  readonly command: string;
  /** As it was; `getStatus()` asks. */
  readonly status: ProcessStatus;
  readonly startTime: Date;
  readonly endTime?: Date;
  readonly exitCode?: number;
  readonly sessionId: string;
  readonly #target: Target;

  constructor(target: Target, info: ProcessInfo, sessionId: string) {
    this.#target = target;
    this.id = info.id;
    this.pid = info.pid;
    this.command = info.command;
    this.status = info.status;
    this.startTime = new Date(info.startTime);
    this.endTime = info.endTime === undefined ? undefined
      : new Date(info.endTime);
    this.exitCode = info.exitCode;
    this.sessionId = sessionId;
  }

  /** Ends it with all that it has started: the signal (SIGTERM), after five
   *  seconds SIGKILL. */
  kill(signal?: string, options?: CallOptions): Promise<void> {
    return killProcess(this.#target, this.id, signal, options);
  }

  /** `error` if the server no longer knows it. */
  async getStatus(options?: CallOptions): Promise<ProcessStatus> {
    return (await getProcess(this.#target, this.id, options))?.status
      ?? 'error';
  }

  getLogs(options?: CallOptions): Promise<{ stdout: string; stderr: string }> {
    return getProcessLogs(this.#target, this.id, options);
  }

  /** The first line with the text, or that the pattern fits.  The server looks
   *  for it: no look-around, no back-references.
   *  @param timeout ms; default none */
  async waitForLog(pattern: string | RegExp, timeout?: number,
    options: CallOptions = {}): Promise<WaitForLogResult> {
    const regex = pattern instanceof RegExp;

    return this.#target.post<WaitForLogResult>(path(this.id, '/wait'), {
      condition: 'log',
      pattern: regex ? pattern.source : pattern,
      regex,
      flags: regex ? pattern.flags.replace(/[gyd]/g, '') : undefined,
      timeoutMs: timeout,
    }, 'process.wait', options, true);
  }

  /** Until something inside answers on the port. */
  waitForPort(port: number, options: WaitForPortOptions = {}): Promise<void> {
    return waitForPort(this.#target, this, port, options);
  }

  /** @param timeout ms; default none */
  async waitForExit(timeout?: number, options: CallOptions = {}):
    Promise<{ exitCode: number }> {
    const { exitCode } = await this.#target.post<{ exitCode: number }>(
      path(this.id, '/wait'), { condition: 'exit', timeoutMs: timeout },
      'process.wait', options, true);

    return { exitCode };
  }

  /** More input, for one that was started with `stdinOpen`.  Taken as a whole
   *  or not at all; at most 1 MiB. */
  async writeStdin(data: string, options: CallOptions = {}): Promise<void> {
    await this.#target.post(path(this.id, '/stdin'), { data },
      'process.stdin', options);
  }

  /** The end of its input. */
  async closeStdin(options: CallOptions = {}): Promise<void> {
    await this.#target.post(path(this.id, '/stdin'), { end: true },
      'process.stdin', options);
  }
}

async function waitForPort(target: Target, process: Process, port: number,
  options: WaitForPortOptions): Promise<void> {
  const { mode = 'http', path: url = '/', status, timeout, interval } = options;
  const context = { processId: process.id, command: process.command,
    condition: mode === 'tcp' ? `port ${port} (TCP)`
      : `port ${port} (HTTP ${url})` };
  const stream = await target.postStream('port-watch', {
    port, mode, path: url, interval, timeoutMs: timeout,
    statusMin: typeof status === 'number' ? status : status?.min,
    statusMax: typeof status === 'number' ? status : status?.max,
    processId: process.id,
  }, 'process.waitForPort', options);

  for await (const event of parseSSEStream<{ type: string; error?: string;
    code?: string; exitCode?: number }>(stream, options.signal)) {

    if (event.type === 'ready') return;

    if (event.type === 'process_exited') {
      throw new ProcessExitedBeforeReadyError(
        `Process exited with code ${event.exitCode} before becoming ready. `
        + `Waiting for: ${context.condition}`, 'PROCESS_EXITED_BEFORE_READY',
        { status: 500, context: { ...context, exitCode: event.exitCode } });
    }

    if (event.type === 'error' && event.code === 'PROCESS_READY_TIMEOUT') {
      throw new ProcessReadyTimeoutError('Process did not become ready within '
        + `${timeout}ms. Waiting for: ${context.condition}`,
      'PROCESS_READY_TIMEOUT', { status: 408, context: { ...context,
        timeout } });
    }

    if (event.type === 'error') {
      throw streamError({ error: event.error ?? '', ...(event.code
        ? { code: event.code } : {}) }, 'process.waitForPort');
    }
  }

  throw streamCut('process.waitForPort');
}

/** Calls back as the options ask, until the process has ended. */
async function follow(target: Target, id: string,
  options: ProcessOptions): Promise<void> {
  try {
    const stream = await streamProcessLogs(target, id, options);

    for await (const event of parseSSEStream<ProcessLogEvent>(stream,
      options.signal)) {

      if (event.type === 'stdout' || event.type === 'stderr') {
        options.onOutput?.(event.type, event.data);
      } else if (event.type === 'exit') {
        options.onExit?.(event.exitCode);
        return;
      } else if (event.type === 'error') {
        throw streamError(event, 'process.stream');
      }
    }

    throw streamCut('process.stream');
  } catch (error) {
    options.onError?.(error as Error);
  }
}

export async function startProcess(target: Target, command: string,
  options: ProcessOptions = {}): Promise<Process> {
  const sessionId = options.sessionId ?? target.sessionId;

  try {
    const started = await target.post<{ processId: string; pid?: number;
      command: string; timestamp: string }>('process/start', {
      command, sessionId,
      processId: options.processId,
      timeoutMs: options.timeout,
      env: options.env,
      cwd: options.cwd,
      stdin: options.stdin,
      stdinOpen: options.stdinOpen,
      autoCleanup: options.autoCleanup,
    }, 'process.start', options);

    const process = new Process(target, { id: started.processId,
      pid: started.pid, command: started.command, status: 'running',
      startTime: started.timestamp }, sessionId);

    options.onStart?.(process);

    if (options.onOutput || options.onExit) {
      void follow(target, process.id, options);
    }

    return process;
  } catch (error) {
    options.onError?.(error as Error);
    throw error;
  }
}

export async function listProcesses(target: Target,
  options: CallOptions = {}): Promise<Process[]> {
  const { processes } = await target.json<{ processes: ProcessInfo[] }>('GET',
    '/api/process/list', { operation: 'process.list', ...signalOf(options) });

  return processes.map((info) => new Process(target, info, target.sessionId));
}

export async function getProcess(target: Target, id: string,
  options: CallOptions = {}): Promise<Process | null> {
  try {
    const { process } = await target.json<{ process: ProcessInfo }>('GET',
      `/api/${path(id)}`, { operation: 'process.get', ...signalOf(options) });

    return new Process(target, process, target.sessionId);
  } catch (error) {
    if (error instanceof ProcessNotFoundError) return null;
    throw error;
  }
}

export async function killProcess(target: Target, id: string, signal?: string,
  options: CallOptions = {}): Promise<void> {
  await target.request('DELETE', `/api/${path(id)}`, { query: { signal },
    operation: 'process.kill', ...signalOf(options) });
}

export async function killAllProcesses(target: Target,
  options: CallOptions = {}): Promise<number> {
  const { cleanedCount } = await target.json<{ cleanedCount: number }>(
    'DELETE', '/api/process/kill-all', { operation: 'process.killAll',
      ...signalOf(options) });

  return cleanedCount;
}

export async function getProcessLogs(target: Target, id: string,
  options: CallOptions = {}): Promise<{ stdout: string; stderr: string;
    processId: string }> {
  const { stdout, stderr, processId } = await target.json<{ stdout: string;
    stderr: string; processId: string }>('GET', `/api/${path(id, '/logs')}`,
    { operation: 'process.logs', ...signalOf(options) });

  return { stdout, stderr, processId };
}

export function streamProcessLogs(target: Target, id: string,
  options: CallOptions & { stdoutOffset?: number; stderrOffset?: number;
    offsets?: boolean } = {}): Promise<ReadableStream<Uint8Array>> {
  return target.stream('GET', `/api/${path(id, '/stream')}`, {
    query: { stdoutOffset: options.stdoutOffset,
      stderrOffset: options.stderrOffset,
      offsets: options.offsets ? 1 : undefined },
    operation: 'process.stream', ...signalOf(options) });
}
