/** Terminals: a WebSocket, and what it says. */

import type { Target } from './target.js';
import { openWebSocket } from './ports.js';
import type { TerminalOptions } from './types.js';

/** What a terminal's text messages say. */
export type TerminalMessage =
  | { type: 'ready' }
  | { type: 'exit'; code: number; signal?: string }
  | { type: 'error'; message: string };

/**
 * Opens the terminal of a session.  Binary messages are output and input; texts
 * are TerminalMessages, and `{"type":"resize","cols","rows"}` to the server.
 */
export function terminal(target: Target, options: TerminalOptions = {}):
  Promise<WebSocket> {
  const { cols, rows, shell, sessionId } = options;

  return openWebSocket(target, '/pty', { cols, rows, shell,
    session: sessionId ?? target.sessionId }, [], options);
}
