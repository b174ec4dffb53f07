// Files of the package outside of src. Their paths are the same from `src` and from `dist`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The version in package.json. */
export function readAgentVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The checkout, or the directory of the installed version without symbolic links. */
export const INSTALLATION_DIR = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles that ship with the agent. */
export const SHIPPED_MODELS_DIR = fileURLToPath(new URL('../../models', import.meta.url));

/** The built pages. */
export const PAGES_DIR = fileURLToPath(new URL('../../dist/web', import.meta.url));

/** Exists in a checkout only. */
export const BENCH_SCRIPT = fileURLToPath(new URL('../../scripts/bench/main.ts', import.meta.url));
