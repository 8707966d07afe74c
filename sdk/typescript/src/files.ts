/** Files: whole, as streams, as archives; directories and their changes. */

import type { CallOptions } from './client.js';
import { NotSupportedError } from './errors.js';
import { parseSSEStream } from './sse.js';
import { signalOf, streamCut, streamError, type Target } from './target.js';
import type { CheckChangesResult, FileBytesResult, FileEncoding, FileMetadata,
  FileResult, FileStreamEvent, ListFilesResult, ReadFileResult, WatchOptions,
  WriteFileResult } from './types.js';

/** Larger texts are sent raw instead of inside JSON. */
const JSON_CONTENT_MAX = 16 * 1024 * 1024;

async function writeRaw(target: Target, path: string,
  body: Uint8Array | Blob | ReadableStream<Uint8Array>,
  options: CallOptions): Promise<WriteFileResult> {
  return target.json<WriteFileResult>('PUT', '/api/file', { query: { path },
    body, operation: 'file.write', ...signalOf(options),
    headers: { 'Content-Type': 'application/octet-stream' } });
}

export async function writeFile(target: Target, path: string,
  content: string | Uint8Array | Blob | ReadableStream<Uint8Array>,
  options: CallOptions & { encoding?: FileEncoding } = {}):
  Promise<WriteFileResult> {
  if (typeof content !== 'string') {
    return writeRaw(target, path, content, options);
  }

  if (content.length > JSON_CONTENT_MAX && options.encoding !== 'base64'
      && path.startsWith('/')) {
    return writeRaw(target, path, new TextEncoder().encode(content), options);
  }

  return target.post<WriteFileResult>('write', { path, content,
    encoding: options.encoding, sessionId: target.sessionId }, 'file.write',
  options, true);
}

export async function readFile(target: Target, path: string,
  options: CallOptions & { encoding?: FileEncoding | 'none' } = {}):
  Promise<ReadFileResult | FileBytesResult> {
  if (options.encoding !== 'none') {
    return target.post<ReadFileResult>('read', { path,
      encoding: options.encoding, sessionId: target.sessionId }, 'file.read',
    options, true);
  }

  const response = await target.request('GET', '/api/file', { query: { path },
    operation: 'file.read', ...signalOf(options) });
  const mimeType = response.headers.get('Content-Type')
    ?? 'application/octet-stream';

  return { success: true, path, encoding: 'none',
    content: response.body ?? new Blob([]).stream(),
    size: Number(response.headers.get('Content-Length') ?? 0), mimeType,
    isBinary: !mimeType.startsWith('text/'),
    timestamp: new Date().toISOString() };
}

export function readFileStream(target: Target, path: string,
  options: CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
  return target.postStream('read/stream', { path,
    sessionId: target.sessionId }, 'file.read', options);
}

function decodeBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);

  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);

  return bytes;
}

/**
 * The contents of a stream of `readFileStream()`: pieces of text, or of bytes
 * if the file is binary.  The generator's return value is the metadata.
 */
export async function* streamFile(stream: ReadableStream<Uint8Array>,
  signal?: AbortSignal): AsyncGenerator<string | Uint8Array, FileMetadata,
    undefined> {
  let metadata: FileMetadata | undefined;

  for await (const event of parseSSEStream<FileStreamEvent>(stream, signal)) {
    if (event.type === 'metadata') {
      const { mimeType, size, isBinary, encoding } = event;
      metadata = { mimeType, size, isBinary, encoding };

    } else if (event.type === 'error') {
      throw streamError({ ...event, code: event.code
        ?? (event.error.startsWith('File not found') ? 'FILE_NOT_FOUND'
          : 'FILESYSTEM_ERROR') }, 'file.read');

    } else if (metadata === undefined) {
      throw streamCut('file.read');

    } else if (event.type === 'complete') {
      return metadata;

    } else if (event.type === 'chunk') {
      yield metadata.encoding === 'base64' ? decodeBase64(event.data)
        : event.data;
    }
  }

  throw streamCut('file.read');
}

/** All of a stream of `readFileStream()`: a string, or bytes if binary. */
export async function collectFile(stream: ReadableStream<Uint8Array>,
  signal?: AbortSignal): Promise<{ content: string | Uint8Array;
    metadata: FileMetadata }> {
  const pieces = streamFile(stream, signal);
  const texts: string[] = [];
  const parts: Uint8Array[] = [];

  for (;;) {
    const next = await pieces.next();

    if (next.done) {
      const metadata = next.value;

      if (!metadata.isBinary) return { content: texts.join(''), metadata };

      const content = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
      let at = 0;

      for (const part of parts) {
        content.set(part, at);
        at += part.length;
      }

      return { content, metadata };
    }

    if (typeof next.value === 'string') texts.push(next.value);
    else parts.push(next.value);
  }
}

export async function exists(target: Target, path: string,
  options: CallOptions = {}): Promise<FileResult & { exists: boolean }> {
  return target.post('exists', { path, sessionId: target.sessionId },
    'file.exists', options, true);
}

export function mkdir(target: Target, path: string,
  options: CallOptions & { recursive?: boolean } = {}):
  Promise<FileResult & { recursive: boolean }> {
  return target.post('mkdir', { path, recursive: options.recursive ?? false,
    sessionId: target.sessionId }, 'directory.create', options,
  options.recursive);
}

export function listFiles(target: Target, path: string,
  options: CallOptions & { recursive?: boolean; includeHidden?: boolean } = {}):
  Promise<ListFilesResult> {
  const { recursive, includeHidden } = options;

  return target.post('list-files', { path, options: { recursive,
    includeHidden }, sessionId: target.sessionId }, 'file.list', options, true);
}

export function deleteFile(target: Target, path: string,
  options: CallOptions = {}): Promise<FileResult> {
  return target.post('delete', { path, sessionId: target.sessionId },
    'file.delete', options);
}

export function renameFile(target: Target, oldPath: string, newPath: string,
  options: CallOptions = {}): Promise<FileResult & { newPath: string }> {
  return target.post('rename', { oldPath, newPath,
    sessionId: target.sessionId }, 'file.rename', options);
}

export function moveFile(target: Target, sourcePath: string,
  destinationPath: string, options: CallOptions = {}):
  Promise<FileResult & { newPath: string }> {
  return target.post('move', { sourcePath, destinationPath,
    sessionId: target.sessionId }, 'file.move', options);
}

function watchBody(target: Target, path: string, options: WatchOptions) {
  const { recursive, events, include, exclude, sessionId } = options;

  return { path, recursive, events, include, exclude,
    sessionId: sessionId ?? target.sessionId };
}

export function watch(target: Target, path: string,
  options: WatchOptions = {}): Promise<ReadableStream<Uint8Array>> {
  return target.postStream('watch', watchBody(target, path, options),
    'watch.start', options);
}

export function checkChanges(target: Target, path: string,
  options: WatchOptions & { since?: string } = {}):
  Promise<CheckChangesResult> {
  return target.post('watch/check', { ...watchBody(target, path, options),
    since: options.since }, 'watch.check', options, true);
}

/** Extracts a tar archive, uncompressed, into a directory; it is made if it is
 *  missing. */
export async function uploadArchive(target: Target, path: string,
  archive: Uint8Array | Blob | ReadableStream<Uint8Array>,
  options: CallOptions = {}): Promise<FileResult> {
  return target.json('PUT', '/api/archive', { query: { path }, body: archive,
    operation: 'archive.extract', ...signalOf(options),
    headers: { 'Content-Type': 'application/x-tar' } });
}

/** A directory as a tar archive. */
export function downloadArchive(target: Target, path: string,
  options: CallOptions & { excludes?: string[] } = {}):
  Promise<ReadableStream<Uint8Array>> {
  if (options.excludes?.some((pattern) => pattern.includes(','))) {
    throw new NotSupportedError('A pattern of excludes contains a comma',
      'NOT_SUPPORTED', { field: 'excludes' });
  }

  return target.stream('GET', '/api/archive', { query: { path,
    excludes: options.excludes?.join(',') }, operation: 'archive.create',
  ...signalOf(options) });
}
