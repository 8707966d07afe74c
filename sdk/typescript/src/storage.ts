/**
 * Backups of directories, as squashfs archives in the sandbox's own
 * `/var/backups`: they survive sleep and restarts, and go with `destroy()`.
 */

import type { CallOptions } from './client.js';
import { BackupExpiredError, BackupNotFoundError, FileNotFoundError,
  InvalidBackupConfigError, NotSupportedError } from './errors.js';
import { readFile, writeFile } from './files.js';
import type { Target } from './target.js';
import type { BackupOptions, DirectoryBackup, ReadFileResult,
  RestoreBackupResult } from './types.js';

const TTL_DEFAULT_S = 259_200;
const NAME_MAX = 256;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

interface Metadata {
  id: string;
  dir: string;
  name: string | null;
  sizeBytes: number;
  ttl: number;
  createdAt: string;
}

const archivePath = (id: string) => `/var/backups/${id}.sqsh`;
const metadataPath = (id: string) => `/var/backups/${id}.json`;

function invalid(field: string, message: string): never {
  throw new InvalidBackupConfigError(message, 'INVALID_BACKUP_CONFIG',
    { status: 400, field });
}

export async function createBackup(target: Target,
  options: BackupOptions): Promise<DirectoryBackup> {
  const { dir, name, ttl = TTL_DEFAULT_S, gitignore, excludes,
    compression } = options;
  const id = crypto.randomUUID();

  if (!Number.isFinite(ttl) || ttl <= 0) invalid('ttl', 'ttl must be above 0');

  if (name !== undefined && (name.length > NAME_MAX
      // eslint-disable-next-line no-control-regex
      || /[\u0000-\u001f\u007f]/.test(name))) {
    invalid('name', `name may have ${NAME_MAX} characters, none of them a `
      + 'control character');
  }

  const { sizeBytes } = await target.post<{ sizeBytes: number }>(
    'backup/create', { dir, archivePath: archivePath(id), gitignore, excludes,
      compression }, 'backup.create', options);
  const metadata: Metadata = { id, dir, name: name ?? null, sizeBytes, ttl,
    createdAt: new Date().toISOString() };

  await writeFile(target, metadataPath(id), JSON.stringify(metadata), options);

  return { id, dir };
}

export async function restoreBackup(target: Target, backup: DirectoryBackup,
  options: CallOptions = {}): Promise<RestoreBackupResult> {
  const { id, dir } = backup;

  if (!UUID.test(id)) invalid('id', 'id of a backup must be a UUID');

  let metadata: Metadata;

  try {
    const file = await readFile(target, metadataPath(id), options);
    metadata = JSON.parse((file as ReadFileResult).content) as Metadata;
  } catch (cause) {
    if (!(cause instanceof FileNotFoundError)) throw cause;

    throw new BackupNotFoundError(`There is no backup ${id} in this sandbox`,
      'BACKUP_NOT_FOUND', { status: 404, context: { backupId: id }, cause });
  }

  const expires = Date.parse(metadata.createdAt) + metadata.ttl * 1000;

  if (Date.now() >= expires) {
    throw new BackupExpiredError(`The backup ${id} has expired`,
      'BACKUP_EXPIRED', { status: 400, context: { backupId: id,
        expiredAt: new Date(expires).toISOString() } });
  }

  await target.post('backup/restore', { dir, archivePath: archivePath(id) },
    'backup.restore', options);

  return { success: true, id, dir };
}

/** Bucket mounts: the server has none yet. */
export function bucketsNotSupported(operation: string): never {
  throw new NotSupportedError('Bucket mounts are not supported by this server',
    'NOT_SUPPORTED', { status: 501, operation });
}
