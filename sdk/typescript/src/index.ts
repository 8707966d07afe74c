export { Client, type CallOptions, type ClientOptions, type RetryOptions }
  from './client.js';
export * from './errors.js';
export { collectFile, streamFile } from './files.js';
export { Process } from './processes.js';
export { getSandbox, listSandboxes, Sandbox } from './sandbox.js';
export { ExecutionSession } from './session.js';
export { asyncIterableToSSEStream, parseSSEStream, responseToAsyncIterable,
  serverSentEvents, type ServerSentEvent } from './sse.js';
export type { TerminalMessage } from './terminal.js';
export type * from './types.js';
