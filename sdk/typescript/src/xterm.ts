/** An addon for xterm.js that shows a sandbox's terminal, and reconnects. */

import type { TerminalMessage } from './terminal.js';

/** Of xterm.js what is used, so that the package needn't be there. */
export interface XtermTerminal {
  readonly cols: number;
  readonly rows: number;
  write(data: string | Uint8Array): void;
  reset(): void;
  onData(listener: (data: string) => void): { dispose(): void };
  onBinary?(listener: (data: string) => void): { dispose(): void };
  onResize(listener: (size: { cols: number; rows: number }) => void):
    { dispose(): void };
}

export type SandboxAddonState = 'disconnected' | 'connecting' | 'connected';

export interface SandboxAddonOptions {
  /** Opens a connection, such as
   *  `({ cols, rows }) => sandbox.terminal({ cols, rows })`. */
  connect(size: { cols: number; rows: number }): Promise<WebSocket>;
  /** Comes back after a lost connection.  Default `true`. */
  reconnect?: boolean;
  /** Tries in a row.  Default 10. */
  maxAttempts?: number;
  onStateChange?(state: SandboxAddonState, error?: Error): void;
  /** The shell has ended; nothing is opened again by itself. */
  onExit?(code: number, signal?: string): void;
}

const BASE_DELAY_MS = 1000;
const EXPONENT_MAX = 5;

/** `terminal.loadAddon(new SandboxAddon({ connect }))`, then `connect()`. */
export class SandboxAddon {
  readonly #options: SandboxAddonOptions;
  readonly #encoder = new TextEncoder();
  #terminal: XtermTerminal | undefined;
  #socket: WebSocket | undefined;
  #listeners: { dispose(): void }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #wanted = false;
  #generation = 0;
  #state: SandboxAddonState = 'disconnected';

  constructor(options: SandboxAddonOptions) {
    this.#options = options;
  }

  get state(): SandboxAddonState {
    return this.#state;
  }

  /** Called by `terminal.loadAddon()`. */
  activate(terminal: XtermTerminal): void {
    this.#terminal = terminal;
    this.#listeners = [
      terminal.onData((data) => this.#send(this.#encoder.encode(data))),
      terminal.onResize(({ cols, rows }) =>
        this.#send(JSON.stringify({ type: 'resize', cols, rows }))),
    ];

    const binary = terminal.onBinary?.((data) =>
      this.#send(Uint8Array.from(data, (c) => c.charCodeAt(0) & 0xff)));

    if (binary) this.#listeners.push(binary);
  }

  /** Called by xterm.js when the terminal goes. */
  dispose(): void {
    this.disconnect();
    for (const listener of this.#listeners) listener.dispose();
    this.#listeners = [];
    this.#terminal = undefined;
  }

  /** Opens the connection, or opens it anew. */
  connect(): void {
    this.#wanted = true;
    this.#attempt = 0;
    void this.#open();
  }

  /** Closes it; the terminal inside goes on. */
  disconnect(): void {
    this.#wanted = false;
    this.#generation++;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = undefined;
    this.#enter('disconnected');
  }

  #send(data: string | Uint8Array): void {
    if (this.#socket?.readyState === 1 /* OPEN */) {
      this.#socket.send(data as Uint8Array<ArrayBuffer>);
    }
  }

  #enter(state: SandboxAddonState, error?: Error): void {
    if (this.#state === state && error === undefined) return;

    this.#state = state;
    this.#options.onStateChange?.(state, error);
  }

  async #open(): Promise<void> {
    const terminal = this.#terminal;
    const generation = ++this.#generation;

    if (terminal === undefined) return;

    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#enter('connecting');

    try {
      const socket = await this.#options.connect({ cols: terminal.cols,
        rows: terminal.rows });

      if (generation !== this.#generation) {
        socket.close(1000);
        return;
      }

      this.#listen(socket, terminal, generation);
    } catch (error) {
      if (generation === this.#generation) this.#later(error as Error);
    }
  }

  #listen(socket: WebSocket, terminal: XtermTerminal, generation: number) {
    let fresh = true;

    socket.binaryType = 'arraybuffer';
    this.#socket = socket;

    socket.addEventListener('message', ({ data }) => {
      if (generation !== this.#generation) return;

      /* What was shown before comes again. */
      if (fresh) terminal.reset();
      fresh = false;

      if (typeof data === 'string') this.#message(data, terminal);
      else terminal.write(new Uint8Array(data as ArrayBuffer));
    });

    socket.addEventListener('close', (event) => {
      if (generation !== this.#generation) return;

      this.#socket = undefined;
      this.#later(new Error(`The connection was closed (${event.code}`
        + `${event.reason ? `: ${event.reason}` : ''})`));
    });
  }

  #message(text: string, terminal: XtermTerminal): void {
    let message: TerminalMessage;

    try {
      message = JSON.parse(text) as TerminalMessage;
    } catch {
      return;
    }

    if (message.type === 'ready') {
      this.#attempt = 0;
      this.#enter('connected');
      this.#send(JSON.stringify({ type: 'resize', cols: terminal.cols,
        rows: terminal.rows }));

    } else if (message.type === 'exit') {
      this.#wanted = false;
      this.#options.onExit?.(message.code, message.signal);

    } else if (message.type === 'error') {
      terminal.write(`\r\n\x1b[31m${message.message}\x1b[0m\r\n`);
    }
  }

  #later(error: Error): void {
    const max = this.#options.maxAttempts ?? 10;

    if (!this.#wanted || this.#options.reconnect === false
        || this.#attempt >= max) {
      this.#wanted = false;
      this.#enter('disconnected', error);
      return;
    }

    const delay = BASE_DELAY_MS * 2 ** Math.min(this.#attempt, EXPONENT_MAX);

    this.#attempt++;
    this.#enter('connecting', error);
    this.#timer = setTimeout(() => void this.#open(),
      delay * (0.9 + Math.random() / 5));
  }
}
