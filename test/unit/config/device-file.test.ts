import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';

const FILE = join(import.meta.dirname, '../../../config/device.yaml');

describe('First configuration of an installed device', () => {
  const directory = mkdtempSync(join(tmpdir(), 'swellsight-device-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  const load = (file: string) =>
    loadSettings({ file, env: { CREDENTIALS_DIRECTORY: directory }, cwd: directory });

  it('observes a simulated camera and keeps its state in /var/lib', () => {
    const { stateDir, cameras, mqtt } = load(FILE);
    expect(stateDir).toBe('/var/lib/swellsight');
    expect(cameras.map(({ id, kind }) => [id, kind])).toEqual([['sim', 'simulated']]);
    expect(mqtt.url).toEqual([]);
  });

  it('is valid with all of its examples', () => {
    for (const name of ['north-camera', 'mqtt-password', 'http-token'])
      writeFileSync(join(directory, name), `secret of ${name}\n`);
    const text = readFileSync(FILE, 'utf8');
    const file = join(directory, 'all.yaml');
    // Lines such as `# device: pole-1` and `#   url: …`, but no sentences.
    writeFileSync(file, text.replaceAll(/^( *)# ( *(?:- )?[a-zA-Z_]+:)(?= |$)/gm, '$1$2'));
    const { device, cameras, mqtt, http } = load(file);
    expect(device).toBe('pole-1');
    expect(cameras.map(({ id }) => id)).toEqual(['sim', 'north']);
    expect(mqtt).toMatchObject({ url: ['mqtts://broker.example.org'], password: 'secret of mqtt-password' });
    expect(http).toMatchObject({ host: '0.0.0.0', token: 'secret of http-token' });
  });
});
