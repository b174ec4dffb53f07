import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';

const IMAGE = /\.(jpe?g|png|webp)$/i;

/** The images that arguments name: files as they are, folders as the pictures in them, by name. Throws `usage`. */
export async function imageFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const found = await stat(path).catch((cause: unknown) => {
      throw new AgentError('usage', `there is no ${path}`, { cause });
    });
    if (!found.isDirectory()) {
      files.push(path);
      continue;
    }
    const names = (await readdir(path)).filter((name) => IMAGE.test(name));
    const order = new Intl.Collator('en', { numeric: true });
    files.push(...names.sort((a, b) => order.compare(a, b)).map((name) => join(path, name)));
  }
  if (files.length === 0) throw new AgentError('usage', 'there is no JPEG, PNG or WebP picture');
  return files;
}
