/** Commands: waited for, or followed. */

import { parseSSEStream } from './sse.js';
import { streamCut, streamError, type Target } from './target.js';
import type { ExecEvent, ExecOptions, ExecResult, StreamOptions }
  from './types.js';

function body(target: Target, command: string,
  options: ExecOptions & StreamOptions): Record<string, unknown> {
  return {
    command,
    sessionId: options.sessionId ?? target.sessionId,
    timeoutMs: options.timeout,
    env: options.env,
    cwd: options.cwd,
    stdin: options.stdin,
    processId: options.processId,
  };
}

async function followed(target: Target, command: string,
  options: ExecOptions): Promise<ExecResult> {
  const started = Date.now();
  const output = { stdout: '', stderr: '' };
  const stream = await execStream(target, command, options);

  for await (const event of parseSSEStream<ExecEvent>(stream, options.signal)) {
    if (event.type === 'stdout' || event.type === 'stderr') {
      output[event.type] += event.data;
      options.onOutput?.(event.type, event.data);

    } else if (event.type === 'complete') {
      return { success: event.exitCode === 0, exitCode: event.exitCode,
        ...output, command, duration: Date.now() - started,
        timestamp: event.timestamp, sessionId: target.sessionId };

    } else if (event.type === 'error') {
      throw streamError(event, 'command.execute');
    }
  }

  throw streamCut('command.execute');
}

export async function exec(target: Target, command: string,
  options: ExecOptions = {}): Promise<ExecResult> {
  try {
    const result = options.stream || options.onOutput
      ? await followed(target, command, options)
      : await target.post<ExecResult>('execute', body(target, command, options),
        'command.execute', options);

    options.onComplete?.(result);
    return result;
  } catch (error) {
    options.onError?.(error as Error);
    throw error;
  }
}

export function execStream(target: Target, command: string,
  options: StreamOptions = {}): Promise<ReadableStream<Uint8Array>> {
  return target.postStream('execute/stream', body(target, command, options),
    'command.stream', options);
}
