/** One sandbox as the parts of the library address it. */

import type { CallOptions, Client, RequestOptions } from './client.js';
import { ConnectionLostError, errorFor } from './errors.js';

/** The session id with which the server runs a command without a session. */
export const NO_SESSION = '__DISABLE_SESSION__';

export class Target {
  /**
   * @param prepare makes the sandbox, if that has to be said; awaited first
   * @param sessionId goes with every operation that has a session
   */
  constructor(readonly client: Client, readonly id: string,
    readonly sessionId: string, readonly prepare: () => Promise<void>) {}

  /** The same sandbox, in another session. */
  withSession(sessionId: string): Target {
    return new Target(this.client, this.id, sessionId, this.prepare);
  }

  path(rest: string): string {
    return `/v1/sandbox/${encodeURIComponent(this.id)}${rest}`;
  }

  async json<T>(method: string, rest: string,
    options?: RequestOptions): Promise<T> {
    await this.prepare();
    return this.client.json<T>(method, this.path(rest), options);
  }

  async request(method: string, rest: string,
    options?: RequestOptions): Promise<Response> {
    await this.prepare();
    return this.client.request(method, this.path(rest), options);
  }

  async stream(method: string, rest: string,
    options?: RequestOptions): Promise<ReadableStream<Uint8Array>> {
    await this.prepare();
    return this.client.stream(method, this.path(rest), options);
  }

  /** A POST of the container API. */
  post<T>(rest: string, json: Record<string, unknown>, operation: string,
    options: CallOptions = {}, idempotent = false): Promise<T> {
    return this.json<T>('POST', `/api/${rest}`,
      { json, operation, idempotent, ...signalOf(options) });
  }

  postStream(rest: string, json: Record<string, unknown>, operation: string,
    options: CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
    return this.stream('POST', `/api/${rest}`,
      { json, operation, ...signalOf(options) });
  }
}

/** Of a call's options only what a request takes. */
export function signalOf(options: CallOptions): CallOptions {
  return options.signal ? { signal: options.signal } : {};
}

/** The error that an `error` event of a stream stands for. */
export function streamError(event: { error: string; data?: string;
  code?: string; context?: unknown }, operation: string): Error {
  return errorFor(event.code ?? 'STREAM_ERROR', event.error || event.data
    || 'The stream failed', { operation });
}

/** A stream that ended without its last event. */
export function streamCut(operation: string): Error {
  return new ConnectionLostError('The stream ended before its end was told',
    'CONNECTION_LOST', { operation });
}
