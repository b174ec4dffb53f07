import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSettings } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';

export const ROOT = join(import.meta.dirname, '../../..');
export const readRootFile = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Variables of compose with their default: `${NAME:-default}`. */
export const interpolate = (text: string, env: Readonly<Record<string, string>> = {}): string =>
  text.replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name: string, fallback: string) => env[name] ?? fallback);

/** The settings that the agent loads in a container. Throws `config_invalid` for faults, such as an unknown variable. */
export const loadContainerSettings = (env: Readonly<Record<string, string>>, file: string | null): Settings =>
  loadSettings({ file, env, cwd: '/' });
