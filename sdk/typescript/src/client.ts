/**
 * The way to the server: requests, retries, errors.  Everything above it knows
 * methods and paths only.
 */

import { ConnectionLostError, NotSupportedError, SandboxError,
  SandboxSecurityError, errorFromResponse } from './errors.js';

/** How failed requests are repeated. */
export interface RetryOptions {
  /** Tries in all, the first one included; 1 switches repeating off.  Default 6. */
  maxAttempts?: number;
  /** No try begins later than this after the first, in ms.  Default 120000. */
  maxElapsedMs?: number;
  /** Pause before the second try, doubled each time up to 30 s, in ms.
   *  Default 500.  A server's `Retry-After` goes before it. */
  baseDelayMs?: number;
}

/** Where the server is, and who asks. */
export interface ClientOptions {
  /** Address of the control API, such as `https://api.example.net`. */
  endpoint: string | URL;
  /** API key or JWT, or a function that gets one for each request.  Never put a
   *  key into a page: let your own server answer with a short-lived JWT. */
  apiKey?: string | (() => string | Promise<string>);
  /** Repeating; see RetryOptions. */
  retry?: RetryOptions;
  /** Sent with every request. */
  headers?: Readonly<Record<string, string>>;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
  /** Opens WebSockets outside of browsers, where the headers have to be sent
   *  with the handshake.  Default: the global WebSocket's own way of Node 22,
   *  Deno and Bun; for Node 20 and the package `ws`:
   *  `(url, protocols, headers) => new WebSocket(url, protocols, { headers })`. */
  openWebSocket?: (url: string, protocols: string[],
    headers: Record<string, string>) => WebSocket;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call; its promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface RequestOptions extends CallOptions {
  query?: Readonly<Record<string, string | number | boolean | undefined>>;
  json?: unknown;
  body?: string | Uint8Array | Blob | ReadableStream<Uint8Array>;
  headers?: Readonly<Record<string, string>>;
  /** For errors: what was tried. */
  operation?: string;
  /** Doing it twice is doing it once; GET and HEAD always are. */
  idempotent?: boolean;
}

const DELAY_MAX_MS = 30_000;
const ERROR_BODY_MAX = 1024 * 1024;

/** `setTimeout` has room for 31 bits. */
const TIMER_MAX_MS = 0x7fffffff;

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, Math.min(ms, TIMER_MAX_MS));

    signal?.addEventListener('abort', abort, { once: true });
  });
}

async function errorText(response: Response): Promise<string> {
  try {
    return (await response.text()).slice(0, ERROR_BODY_MAX);
  } catch {
    return '';
  }
}

export class Client {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly #options: ClientOptions;
  readonly #retry: Required<RetryOptions>;

  constructor(options: ClientOptions) {
    let url: URL;

    try {
      url = new URL(options.endpoint);
    } catch (cause) {
      throw new SandboxSecurityError(
        `endpoint is no URL: ${String(options.endpoint)}`, 'INVALID_ENDPOINT',
        { field: 'endpoint', cause });
    }

    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw new SandboxSecurityError(
        'endpoint has to begin with http:// or https://', 'INVALID_ENDPOINT',
        { field: 'endpoint' });
    }

    this.endpoint = (url.origin + url.pathname).replace(/\/+$/, '');
    this.#options = options;
    this.#retry = {
      maxAttempts: options.retry?.maxAttempts ?? 6,
      maxElapsedMs: options.retry?.maxElapsedMs ?? 120_000,
      baseDelayMs: options.retry?.baseDelayMs ?? 500,
    };
  }

  /** The answer if its status is 2xx, else the error that it stands for. */
  async request(method: string, path: string,
    options: RequestOptions = {}): Promise<Response> {
    const started = Date.now();
    const streamed = options.body instanceof ReadableStream;
    const repeatable = !streamed && (options.idempotent
      || method === 'GET' || method === 'HEAD');

    for (let attempt = 1; ; attempt++) {
      const answer = await this.#try(method, path, options);

      if (!(answer instanceof SandboxError)) return answer;

      const failure = answer;

      /* With 503 nothing was done, unless the server was asked and didn't
         answer in time. */
      const again = repeatable
        ? failure.httpStatus === 503 || failure.code === 'CONNECTION_LOST'
        : !streamed && failure.httpStatus === 503 && failure.code !== 'TIMEOUT';
      const pause = Math.min(DELAY_MAX_MS, failure.retryAfterMs
        ?? this.#retry.baseDelayMs * 2 ** (attempt - 1)
           * (0.75 + Math.random() / 2));

      if (!again || attempt >= this.#retry.maxAttempts
          || Date.now() - started + pause > this.#retry.maxElapsedMs) {
        throw failure;
      }

      await sleep(pause, options.signal);
    }
  }

  /** The same, with the answer's JSON. */
  async json<T>(method: string, path: string,
    options: RequestOptions = {}): Promise<T> {
    const response = await this.request(method, path, options);

    try {
      return await response.json() as T;
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw new ConnectionLostError('The answer broke off, or is no JSON',
        'CONNECTION_LOST', { status: response.status,
          operation: options.operation, cause });
    }
  }

  /** The same, with the answer's bytes as they come. */
  async stream(method: string, path: string,
    options: RequestOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const response = await this.request(method, path, options);

    return response.body ?? new Blob([]).stream();
  }

  /** Somebody's request, sent to `path` with our key; any status is an answer. */
  async raw(request: Request, path: string): Promise<Response> {
    const headers = new Headers(request.headers);
    const init: RequestInit & { duplex?: 'half' } = { method: request.method,
      redirect: 'manual', signal: request.signal };

    (await this.#headers({})).forEach((value, name) =>
      headers.set(name, value));
    init.headers = headers;

    if (request.body !== null) {
      init.body = request.body;
      init.duplex = 'half';
    }

    const fetch = this.#options.fetch ?? globalThis.fetch;

    try {
      return await fetch(this.endpoint + path, init);
    } catch (cause) {
      request.signal.throwIfAborted();
      throw this.#lost(cause, 'port.fetch');
    }
  }

  #lost(cause: unknown, operation?: string): SandboxError {
    return new ConnectionLostError(`No answer from ${this.endpoint}: `
      + `${cause instanceof Error ? cause.message : String(cause)}`,
    'CONNECTION_LOST', { operation, cause });
  }

  /** A WebSocket with a ticket among its protocols, for browsers. */
  ticketSocket(path: string, query: RequestOptions['query'],
    protocols: string[]): WebSocket {
    return new WebSocket(this.socketUrl(path, query), protocols);
  }

  /** A WebSocket that carries the key in its handshake. */
  async keySocket(path: string, query: RequestOptions['query'],
    protocols: string[]): Promise<WebSocket> {
    const url = this.socketUrl(path, query);
    const headers = Object.fromEntries(await this.#headers({}));

    if (this.#options.openWebSocket) {
      return this.#options.openWebSocket(url, protocols, headers);
    }

    if (globalThis.WebSocket === undefined) {
      throw new NotSupportedError('There is no WebSocket here: hand one over '
        + 'as the option `openWebSocket`', 'NOT_SUPPORTED',
      { field: 'openWebSocket' });
    }

    return new WebSocket(url, { protocols, headers } as unknown as string[]);
  }

  /** The address of a WebSocket. */
  socketUrl(path: string, query?: RequestOptions['query']): string {
    return this.#url(path, query).replace(/^http/, 'ws');
  }

  #url(path: string, query: RequestOptions['query']): string {
    const url = new URL(this.endpoint + path);

    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }

    return url.href;
  }

  async #headers(options: RequestOptions): Promise<Headers> {
    const headers = new Headers({ ...this.#options.headers,
      ...options.headers });
    const { apiKey } = this.#options;
    const key = typeof apiKey === 'function' ? await apiKey() : apiKey;

    if (key) headers.set('Authorization', `Bearer ${key}`);

    if (options.json !== undefined) {
      headers.set('Content-Type', 'application/json');
    }

    return headers;
  }

  async #try(method: string, path: string, options: RequestOptions):
    Promise<Response | SandboxError> {
    const body = options.json === undefined ? options.body
      : JSON.stringify(options.json);
    const init: RequestInit & { duplex?: 'half' } = {
      method, headers: await this.#headers(options), redirect: 'error',
    };

    if (options.signal) init.signal = options.signal;
    if (body !== undefined) init.body = body as BodyInit;
    if (body instanceof ReadableStream) init.duplex = 'half';

    const fetch = this.#options.fetch ?? globalThis.fetch;
    let response: Response;

    try {
      response = await fetch(this.#url(path, options.query), init);
    } catch (cause) {
      options.signal?.throwIfAborted();
      return this.#lost(cause, options.operation);
    }

    if (response.ok) return response;

    return errorFromResponse(response.status, await errorText(response),
      response.headers.get('Retry-After'), options.operation);
  }
}
