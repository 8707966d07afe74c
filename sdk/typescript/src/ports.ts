/** Ports: previews for the outer world, and ways of one's own. */

import type { CallOptions } from './client.js';
import { PortNotExposedError, SandboxSecurityError } from './errors.js';
import { signalOf, type Target } from './target.js';
import type { ExposedPort, ExposePortOptions, PreviewLink, PreviewLinkOptions,
  Ticket, TicketOptions } from './types.js';

/** Port 3000 is where clients of the container API expect it. */
const CONTROL_PORT = 3000;

export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1024 || port > 65535
      || port === CONTROL_PORT) {
    throw new SandboxSecurityError(`Invalid port number: ${port}. Must be `
      + '1024-65535, excluding 3000 (sandbox control plane).',
    'INVALID_PORT_NUMBER', { status: 400, field: 'port', context: { port } });
  }
}

export async function exposePort(target: Target, port: number,
  options: ExposePortOptions = {}): Promise<ExposedPort> {
  checkPort(port);
  const { hostname, hostnames, name, token, access, host, wake,
    wakesPerMinute, limits } = options;

  return target.json<ExposedPort>('POST', '/ports', { json: { port, hostname,
    hostnames, name, token, access, host, wake, wakesPerMinute, limits },
  operation: 'port.expose', idempotent: true, ...signalOf(options) });
}

export async function unexposePort(target: Target, port: number,
  options: CallOptions = {}): Promise<void> {
  checkPort(port);
  await target.request('DELETE', `/ports/${port}`, { idempotent: true,
    operation: 'port.unexpose', ...signalOf(options) });
}

export async function listPorts(target: Target,
  options: CallOptions & { hostname?: string } = {}): Promise<ExposedPort[]> {
  const { ports } = await target.json<{ ports: ExposedPort[] }>('GET',
    '/ports', { query: { hostname: options.hostname },
      operation: 'port.list', ...signalOf(options) });

  return ports;
}

async function getPort(target: Target, port: number, options: CallOptions):
  Promise<ExposedPort | null> {
  try {
    return await target.json<ExposedPort>('GET', `/ports/${port}`,
      { operation: 'port.get', ...signalOf(options) });
  } catch (error) {
    if (error instanceof PortNotExposedError) return null;
    throw error;
  }
}

export async function isPortExposed(target: Target, port: number,
  options: CallOptions = {}): Promise<boolean> {
  checkPort(port);

  return await getPort(target, port, options) !== null;
}

export async function validatePortToken(target: Target, port: number,
  token: string, options: CallOptions = {}): Promise<boolean> {
  checkPort(port);
  const exposed = await getPort(target, port, options);

  return exposed !== null && exposed.token !== null && exposed.token === token;
}

export function createPreviewLink(target: Target, port: number,
  options: PreviewLinkOptions = {}): Promise<PreviewLink> {
  checkPort(port);
  const { expires, path, embed, hostname } = options;

  return target.json<PreviewLink>('POST', `/ports/${port}/link`, { json: {
    expires, path, embed, hostname }, operation: 'port.link', idempotent: true,
  ...signalOf(options) });
}

/** `/a/b?c` as the path and query of a port's own. */
function proxyPath(port: number, path: string): string {
  checkPort(port);

  return `/proxy/${port}${path.startsWith('/') ? '' : '/'}${path}`;
}

/**
 * A request straight to a port, exposed or not.  The answer is the service's,
 * whatever its status.
 */
export async function containerFetch(target: Target, request: Request | string
  | URL, port: number, init: RequestInit = {}): Promise<Response> {
  const relative = typeof request === 'string' && request.startsWith('/');
  const wanted = new Request(relative ? `http://localhost:${port}${request}`
    : request, init);
  const url = new URL(wanted.url);

  await target.prepare();

  return target.client.raw(wanted,
    target.path(proxyPath(port, url.pathname + url.search)));
}

/** A WebSocket to a port, exposed or not. */
export async function wsConnect(target: Target, path: string, port: number,
  options: CallOptions & { protocols?: string[] } = {}): Promise<WebSocket> {
  return openWebSocket(target, proxyPath(port, path), {},
    options.protocols ?? [], options);
}

/** A ticket for one WebSocket of somebody's page. */
export async function createTicket(target: Target, options: TicketOptions):
  Promise<Ticket> {
  const { origin, route = '/pty', expires } = options;
  const answer = await target.json<Omit<Ticket, 'url'>>('POST', '/ticket', {
    json: { route: route.split('?')[0], origin, expires },
    operation: 'ticket.create', idempotent: true, ...signalOf(options) });

  return { ...answer, url: target.client.socketUrl(target.path(route)) };
}

/** The page's origin, in a browser. */
function pageOrigin(): string | undefined {
  const origin = globalThis.location?.origin;

  return typeof document !== 'undefined' && origin?.startsWith('http')
    ? origin : undefined;
}

/**
 * Opens a WebSocket of the API.  In a browser its constructor takes no headers,
 * and a single-use ticket goes along as a subprotocol, which the server takes
 * out; elsewhere the key is in the handshake.
 */
export async function openWebSocket(target: Target, rest: string,
  query: Record<string, string | number | undefined>, protocols: string[],
  options: CallOptions): Promise<WebSocket> {
  const origin = pageOrigin();
  const path = target.path(rest);
  let socket: WebSocket;

  if (origin === undefined) {
    await target.prepare();
    socket = await target.client.keySocket(path, query, protocols);
  } else {
    const { protocol } = await createTicket(target, { origin, route: rest,
      ...signalOf(options) });

    socket = target.client.ticketSocket(path, query, [protocol, ...protocols]);
  }

  socket.binaryType = 'arraybuffer';

  return socket;
}
