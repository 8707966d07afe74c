/** Server-sent events, as the sandbox sends them: one JSON value an event. */

import { ConnectionLostError } from './errors.js';

/** One event as it came over the wire. */
export interface ServerSentEvent {
  /** From `event:` lines; `message` without one. */
  event: string;
  /** `data:` lines, joined by line feeds. */
  data: string;
  id?: string;
}

/** Longest event that is taken, in UTF-16 units; more is an error. */
const EVENT_MAX = 64 * 1024 * 1024;

function abortReason(signal: AbortSignal): unknown {
  return signal.reason ?? new DOMException('Aborted', 'AbortError');
}

/**
 * Splits a stream of bytes into events.  Ends when the stream does; what comes
 * after the last blank line is no event.  Leaving the loop, or the signal,
 * cancels the stream.
 */
export async function* serverSentEvents(stream: ReadableStream<Uint8Array>,
  signal?: AbortSignal): AsyncGenerator<ServerSentEvent, void, undefined> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let partial: string[] = [];   // of a line whose end hasn't come yet
  let event = '';
  let id: string | undefined;
  let data: string[] = [];
  let size = 0;                 // of what is held back
  let done = false;
  const abort = () => { void reader.cancel(signal?.reason).catch(() => {}); };

  if (signal?.aborted) {
    abort();
    throw abortReason(signal);
  }

  signal?.addEventListener('abort', abort, { once: true });

  try {
    while (!done) {
      let chunk: ReadableStreamReadResult<Uint8Array>;

      try {
        chunk = await reader.read();
      } catch (cause) {
        if (signal?.aborted) throw abortReason(signal);
        throw new ConnectionLostError('The stream broke off',
          'CONNECTION_LOST', { cause });
      }

      if (signal?.aborted) throw abortReason(signal);

      done = chunk.done;
      const piece = done ? decoder.decode()
        : decoder.decode(chunk.value, { stream: true });
      let start = 0;

      for (;;) {
        const end = piece.indexOf('\n', start);

        if (end < 0) {
          if (start < piece.length) {
            partial.push(piece.slice(start));
            size += piece.length - start;
          }
          break;
        }

        partial.push(piece.slice(start, end));
        size += end - start;
        start = end + 1;

        const whole = partial.length === 1 ? partial[0]! : partial.join('');
        const line = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
        partial = [];

        if (line === '') {
          if (data.length > 0) {
            yield { event: event || 'message', data: data.join('\n'),
              ...(id === undefined ? {} : { id }) };
          }
          event = '';
          data = [];
          size = 0;
          continue;
        }

        const colon = line.indexOf(':');
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');

        if (name === 'data') {
          data.push(value);
        } else if (name === 'event') {
          event = value;
        } else if (name === 'id') {
          id = value;
        }
      }

      if (size > EVENT_MAX) {
        throw new ConnectionLostError('An event of the stream is too long',
          'CONNECTION_LOST', { limit: EVENT_MAX });
      }
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    if (!done) await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

/**
 * The JSON values of a stream of events, such as the one of `execStream()`.
 * An event that is no JSON is left out.
 */
export async function* parseSSEStream<T>(stream: ReadableStream<Uint8Array>,
  signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
  for await (const { data } of serverSentEvents(stream, signal)) {
    let value: T;

    try {
      value = JSON.parse(data) as T;
    } catch {
      continue;
    }

    yield value;
  }
}

/** The same for a `Response`. */
export async function* responseToAsyncIterable<T>(response: Response,
  signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
  if (response.body === null) {
    throw new ConnectionLostError('The answer has no body', 'CONNECTION_LOST');
  }

  yield* parseSSEStream<T>(response.body, signal);
}

/** Events again, for handing a stream on to somebody else. */
export function asyncIterableToSSEStream<T>(events: AsyncIterable<T>):
  ReadableStream<Uint8Array> {
  const iterator = events[Symbol.asyncIterator]();
  const encoder = new TextEncoder();

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();

      if (done) {
        controller.close();
      } else {
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(value)}\n\n`));
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
