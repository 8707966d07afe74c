/** A sandbox: getSandbox(), its life, its sessions and ports. */

import { Client, type CallOptions, type ClientOptions } from './client.js';
import { SandboxExistsError, SandboxNotFoundError, SandboxSecurityError }
  from './errors.js';
import { Interpreter } from './interpreter.js';
import { Operations } from './operations.js';
import * as ports from './ports.js';
import { ExecutionSession, exportVariables } from './session.js';
import { NO_SESSION, signalOf, Target } from './target.js';
import type * as t from './types.js';

/** Options that the server knows, and those that can be changed later. */
const CREATE = ['sleepAfter', 'keepAlive', 'containerTimeouts', 'labels',
  'image', 'resources', 'network', 'env'] as const;
const CHANGE = ['sleepAfter', 'keepAlive', 'containerTimeouts', 'labels',
  'resources'] as const;

function pick(options: t.SandboxOptions, names: readonly string[]):
  Record<string, unknown> {
  return Object.fromEntries(Object.entries(options)
    .filter(([name, value]) => names.includes(name) && value !== undefined));
}

/** Makes the sandbox with its options before the first operation. */
class Preparation {
  #done: Promise<void> | undefined;

  constructor(readonly client: Client, readonly id: string,
    readonly options: t.SandboxOptions) {}

  readonly run = (): Promise<void> => {
    const options = pick(this.options, CREATE);

    /* Without options the first operation makes it. */
    if (Object.keys(options).length === 0) return Promise.resolve();

    this.#done ??= this.#create(options).catch((error: unknown) => {
      this.#done = undefined;
      throw error;
    });

    return this.#done;
  };

  reset(): void {
    this.#done = undefined;
  }

  async #create(options: Record<string, unknown>): Promise<void> {
    try {
      await this.client.json('POST', '/v1/sandbox', {
        json: { id: this.id, ...options }, operation: 'sandbox.create',
        idempotent: true });
    } catch (error) {
      if (!(error instanceof SandboxExistsError)) throw error;

      const path = `/v1/sandbox/${encodeURIComponent(this.id)}`;
      const { image } = await this.client.json<t.SandboxRecord>('GET', path);
      const changes = pick(this.options, CHANGE);

      if ((options['image'] !== undefined && options['image'] !== image)
          || Object.keys(changes).length === 0) {
        throw error;
      }

      await this.client.json('PATCH', path, { json: changes,
        operation: 'sandbox.configure', idempotent: true });
    }
  }
}

export class Sandbox extends Operations {
  /** The sandbox's id. */
  readonly id: string;
  readonly #preparation: Preparation;
  readonly #interpreter: Interpreter;

  /** @internal Use getSandbox(). */
  constructor(client: Client, id: string, options: t.SandboxOptions) {
    const preparation = new Preparation(client, id, options);
    const target = new Target(client, id, options.enableDefaultSession === false
      ? NO_SESSION : `sandbox-${id}`.slice(0, 128), preparation.run);
    const interpreter = new Interpreter(target);

    super(target, interpreter);
    this.id = id;
    this.#preparation = preparation;
    this.#interpreter = interpreter;
  }

  /* Life */

  /** Ends it and removes its files and exposures.  The id is free then, and the
   *  next operation makes a new sandbox. */
  async destroy(options: CallOptions = {}): Promise<void> {
    await this.target.client.request('DELETE', this.target.path(''), {
      operation: 'sandbox.destroy', idempotent: true, ...signalOf(options) });
    this.#preparation.reset();
  }

  /** Ends what runs and keeps the files.  The next operation wakes it. */
  async sleep(options: CallOptions = {}): Promise<void> {
    await this.target.client.request('POST', this.target.path('/sleep'), {
      operation: 'sandbox.sleep', idempotent: true, ...signalOf(options) });
  }

  /** The same as `sleep()`; a signal is taken and ignored. */
  stop(_signal?: string, options?: CallOptions): Promise<void> {
    return this.sleep(options);
  }

  /** Starts it, if it doesn't run. */
  async wake(options: CallOptions = {}): Promise<void> {
    await this.target.request('POST', '/wake', { operation: 'sandbox.wake',
      idempotent: true, ...signalOf(options) });
  }

  /** A new sandbox with the same files and what runs in it.  Where its driver
   *  can't, it throws NotSupportedError. */
  async fork(id?: string, options: CallOptions = {}): Promise<Sandbox> {
    const answer = await this.target.json<{ id?: string;
      sandbox?: { id: string } }>('POST', '/fork', { json: { id },
      operation: 'sandbox.fork', ...signalOf(options) });
    const forked = answer.id ?? answer.sandbox?.id;

    if (forked === undefined) {
      throw new SandboxNotFoundError('The server names no new sandbox',
        'NOT_FOUND', { operation: 'sandbox.fork' });
    }

    return new Sandbox(this.target.client, forked, {});
  }

  /** The server's record.  Looking makes and starts nothing: an id that was
   *  never used is a SandboxNotFoundError. */
  getRecord(options: CallOptions = {}): Promise<t.SandboxRecord> {
    return this.target.client.json('GET', this.target.path(''), {
      operation: 'sandbox.get', ...signalOf(options) });
  }

  async getState(options: CallOptions = {}): Promise<t.SandboxState> {
    let record: t.SandboxRecord;

    try {
      record = await this.getRecord(options);
    } catch (error) {
      if (!(error instanceof SandboxNotFoundError)) throw error;
      return { status: 'stopped', state: 'created', lastChange: 0,
        reason: null };
    }

    const status = record.state === 'running' ? 'running'
      : record.state === 'sleeping' || record.state === 'destroying'
        ? 'stopping' : 'stopped';

    return { status, state: record.state, reason: record.reason,
      lastChange: record.startedAt === null ? 0
        : Date.parse(record.startedAt) };
  }

  /** Names the current run; `null` while it doesn't run, `undefined` if it has
   *  never run. */
  async getContainerPlacementId(options: CallOptions = {}):
    Promise<string | null | undefined> {
    try {
      const { id, epoch, state } = await this.getRecord(options);

      return epoch === 0 ? undefined
        : state === 'running' ? `${id}.${epoch}` : null;
    } catch (error) {
      if (error instanceof SandboxNotFoundError) return undefined;
      throw error;
    }
  }

  setSleepAfter(sleepAfter: t.Duration, options?: CallOptions): Promise<void> {
    return this.configure({ sleepAfter }, options);
  }

  setKeepAlive(keepAlive: boolean, options?: CallOptions): Promise<void> {
    return this.configure({ keepAlive }, options);
  }

  /** Replaces all labels. */
  setLabels(labels: Readonly<Record<string, string>>, options?: CallOptions):
    Promise<void> {
    return this.configure({ labels }, options);
  }

  setContainerTimeouts(containerTimeouts: t.ContainerTimeouts,
    options?: CallOptions): Promise<void> {
    return this.configure({ containerTimeouts }, options);
  }

  /** Changes options of an existing sandbox. */
  async configure(changes: Pick<t.SandboxOptions, typeof CHANGE[number]>,
    options: CallOptions = {}): Promise<void> {
    await this.target.prepare();

    try {
      await this.#patch(changes, options);
    } catch (error) {
      if (!(error instanceof SandboxNotFoundError)) throw error;

      await this.target.client.json('POST', '/v1/sandbox', { json: {
        id: this.id, ...changes }, operation: 'sandbox.create',
      idempotent: true, ...signalOf(options) });
    }
  }

  async #patch(changes: object, options: CallOptions): Promise<void> {
    await this.target.client.json('PATCH', this.target.path(''), {
      json: changes, operation: 'sandbox.configure', idempotent: true,
      ...signalOf(options) });
  }

  /* Sessions */

  /**
   * Variables for everything that begins from now on, and for the default
   * session; durable.  `null` takes one away.
   */
  async setEnvVars(envVars: t.EnvVars, options: CallOptions = {}):
    Promise<void> {
    const env = Object.fromEntries(Object.entries(envVars)
      .map(([name, value]) => [name, value ?? null]));

    await this.target.json('PATCH', '/env', { json: env,
      operation: 'env.set', idempotent: true, ...signalOf(options) });

    /* The server's own default session has got them; this is ours. */
    if (this.target.sessionId !== NO_SESSION) {
      await exportVariables(this.target, envVars, options);
    }
  }

  /** Makes a session with a shell of its own. */
  async createSession(options: t.SessionOptions = {}):
    Promise<ExecutionSession> {
    const { id = `session-${Date.now()}`, cwd, env, commandTimeoutMs }
      = options;

    if (id === NO_SESSION) {
      throw new SandboxSecurityError(`The session id ${NO_SESSION} is `
        + 'reserved', 'INVALID_SESSION_ID', { field: 'id' });
    }

    await this.target.post('session/create', { id, cwd, commandTimeoutMs,
      env: env && Object.fromEntries(Object.entries(env)
        .filter(([, value]) => value !== null && value !== undefined)),
    }, 'session.create', options);

    return this.#session(id);
  }

  /** A handle; the session is made by its first command if it isn't there. */
  async getSession(id: string): Promise<ExecutionSession> {
    return this.#session(id);
  }

  /** Ends a session and what runs in it. */
  async deleteSession(sessionId: string, options: CallOptions = {}):
    Promise<{ success: boolean; sessionId: string; timestamp: string }> {
    if (sessionId === this.target.sessionId) {
      throw new SandboxSecurityError(
        `Cannot delete default session '${sessionId}'. Use sandbox.destroy() `
        + 'to terminate the sandbox.', 'INVALID_SESSION_ID',
        { field: 'sessionId' });
    }

    return this.target.post('session/delete', { sessionId }, 'session.delete',
      options);
  }

  /** Their ids. */
  async listSessions(options: CallOptions = {}): Promise<string[]> {
    const { data } = await this.target.json<{ data: string[] }>('GET',
      '/api/session/list', { operation: 'session.list',
        ...signalOf(options) });

    return data;
  }

  #session(id: string): ExecutionSession {
    return new ExecutionSession(this.target.withSession(id),
      this.#interpreter);
  }

  /* Ports */

  /** Gives a port an address in the outer world.  Nothing has to listen yet. */
  exposePort(port: number, options?: t.ExposePortOptions):
    Promise<t.ExposedPort> {
    return ports.exposePort(this.target, port, options);
  }

  /** The address is gone when this resolves. */
  unexposePort(port: number, options?: CallOptions): Promise<void> {
    return ports.unexposePort(this.target, port, options);
  }

  listPorts(options?: CallOptions & { hostname?: string }):
    Promise<t.ExposedPort[]> {
    return ports.listPorts(this.target, options);
  }

  /** The same as `listPorts({ hostname })`. */
  getExposedPorts(hostname?: string, options?: CallOptions):
    Promise<t.ExposedPort[]> {
    return ports.listPorts(this.target, { ...options, hostname });
  }

  isPortExposed(port: number, options?: CallOptions): Promise<boolean> {
    return ports.isPortExposed(this.target, port, options);
  }

  validatePortToken(port: number, token: string, options?: CallOptions):
    Promise<boolean> {
    return ports.validatePortToken(this.target, port, token, options);
  }

  /** A link that opens a private preview in a browser, for a time. */
  createPreviewLink(port: number, options?: t.PreviewLinkOptions):
    Promise<t.PreviewLink> {
    return ports.createPreviewLink(this.target, port, options);
  }

  /** A ticket with which a page that has no key opens one WebSocket: a terminal,
   *  or a port's. */
  createTicket(options: t.TicketOptions): Promise<t.Ticket> {
    return ports.createTicket(this.target, options);
  }

  /** A WebSocket to a port, exposed or not.
   *  @param path path and query inside */
  wsConnect(path: string, port: number, options?: CallOptions & {
    protocols?: string[] }): Promise<WebSocket> {
    return ports.wsConnect(this.target, path, port, options);
  }

  /** A request to a port, exposed or not; any status is an answer. */
  containerFetch(request: Request | string | URL, port: number,
    init?: RequestInit): Promise<Response> {
    return ports.containerFetch(this.target, request, port, init);
  }
}

/**
 * A sandbox by its id.  Nothing is sent yet: it is made and started by the
 * first operation inside.
 *
 * @param client where the server is, or a Client that several share
 * @param id 1 to 40 of `[a-z0-9-]`, beginning and ending with a letter or digit
 */
export function getSandbox(client: ClientOptions | Client, id: string,
  options: t.SandboxOptions = {}): Sandbox {
  const name = options.normalizeId ? id.toLowerCase() : id;

  if (!/^(?:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?|[a-z2-7]{1,128})$/.test(name))
  {
    throw new SandboxSecurityError(`Invalid sandbox id '${id}': 1 to 40 of `
      + '[a-z0-9-], beginning and ending with a letter or digit; normalizeId '
      + 'folds upper case', 'INVALID_SANDBOX_ID', { field: 'id', limit: 40 });
  }

  return new Sandbox(client instanceof Client ? client : new Client(client),
    name, options);
}

/** A page of the caller's sandboxes. */
export function listSandboxes(client: ClientOptions | Client,
  options: t.ListSandboxesOptions = {}): Promise<{
    sandboxes: t.SandboxRecord[]; cursor: string | null }> {
  const { limit, cursor } = options;

  return (client instanceof Client ? client : new Client(client)).json('GET',
    '/v1/sandbox', { query: { limit, cursor }, operation: 'sandbox.list',
      ...signalOf(options) });
}
