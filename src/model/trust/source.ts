import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';

/** Where a repository's files come from: a web server, or a folder that came over MQTT. */
export interface MetadataSource {
  /**
   * The bytes of one small file, by its path in the repository, such as `metadata/2.root.json`; `null` when it is not
   * there. Of a file over `maxBytes` it hands back `maxBytes + 1` bytes and reads no more.
   * Throws `model_transfer_failed` when the repository cannot be reached, and the AbortError of the signal.
   */
  fetch(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | null>;
}

/** A repository that lies in a folder. Links are not followed. */
export function folderSource(dir: string): MetadataSource {
  return {
    fetch: async (path, maxBytes, signal) => {
      signal.throwIfAborted();
      try {
        await using file = await open(join(dir, path), constants.O_RDONLY | constants.O_NOFOLLOW);
        const bytes = Buffer.alloc(maxBytes + 1);
        let size = 0;
        while (size < bytes.length) {
          const { bytesRead } = await file.read(bytes, size, bytes.length - size, null);
          if (bytesRead === 0) break;
          size += bytesRead;
        }
        return bytes.subarray(0, size);
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return null;
        throw new AgentError('model_transfer_failed', 'a file of the repository cannot be read', {
          cause: error,
        });
      }
    },
  };
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;
