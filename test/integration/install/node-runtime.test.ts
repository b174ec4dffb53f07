import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchNode, NODE_INTEGRITY, NODE_VERSION } from '../../../scripts/setup.mjs';

const PLATFORM = process.arch === 'arm64' ? 'linux-arm64' : 'linux-x64';

describe('the Node runtime that set-up fetches', () => {
  const directory = mkdtempSync(join(tmpdir(), 'swellsight-node-'));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is the version whose digest the project knows', { timeout: 300_000 }, () => {
    const binary = fetchNode(directory, PLATFORM, NODE_INTEGRITY[PLATFORM]);
    expect(execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim()).toBe(`v${NODE_VERSION}`);
  });

  it('is refused when the registry gives another file', { timeout: 300_000 }, () => {
    const other = `sha512-${Buffer.alloc(64).toString('base64')}`;
    expect(() => fetchNode(directory, PLATFORM, other)).toThrow(/exited with/);
    expect(existsSync(join(directory, 'node_modules', `node-${PLATFORM}`, 'bin/node'))).toBe(false);
  });
});
