import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import type * as Json5 from 'json5';
import type * as Yaml from 'yaml';
import type { ConfigFault } from './faults.ts';

const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads one configuration file: JSON5 or YAML, by the extension, else by what the text begins with.
 * What cannot be read or parsed is one fault under the key `(file)`.
 */
export function readSettingsFile(path: string, faults: ConfigFault[]): unknown {
  const fault = (given: string, wanted: string): unknown => {
    faults.push({ key: '(file)', given, wanted, origin: path });
    return undefined;
  };
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES)
      return fault(`${String(size)} bytes`, `at most ${String(MAX_FILE_BYTES)} bytes`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    return fault(reason(error), 'a readable UTF-8 file');
  }
  if (text.trim() === '') return {};
  try {
    return parse(path, text);
  } catch (error) {
    return fault(firstLine(error), 'JSON5 or YAML');
  }
}

// The two parsers are loaded on demand: one of them is never needed, and YAML's costs megabytes of memory.
function parse(path: string, text: string): unknown {
  const require = createRequire(import.meta.url);
  const extension = extname(path).toLowerCase();
  const yaml =
    extension === '.yaml' ||
    extension === '.yml' ||
    (!extension.startsWith('.json') && !/^\s*(\/\/|\/\*|\{)/.test(text));
  if (yaml) {
    const { parse: parseYaml } = require('yaml') as typeof Yaml;
    return parseYaml(text, { maxAliasCount: 100, uniqueKeys: true });
  }
  const { parse: parseJson5 } = require('json5') as typeof Json5;
  return parseJson5<unknown>(text);
}

function reason(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : firstLine(error);
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
