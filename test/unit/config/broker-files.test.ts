import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Configuration } from '../../../src/config/configuration.ts';
import { loadLocal } from '../../../src/config/load.ts';
import { Authority } from '../../fixtures/certificates.ts';
import { tempDir } from '../../fixtures/store.ts';

describe('unusable files of the broker', () => {
  const dir = tempDir();
  const config = join(dir.path, 'config.json');
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir.path, name), text);
    return join(dir.path, name);
  };
  let key: string;

  beforeAll(() => {
    using authority = new Authority();
    const [own, other] = [authority.issue({ name: 'pi' }), authority.issue({ name: 'pi' })];
    key = readFileSync(own.key, 'utf8');
    const mqtt = {
      url: 'mqtts://h',
      username: 'pi',
      password_file: write('password', ''),
      cert: write('pi.crt', readFileSync(own.cert, 'utf8')),
      key: write('pi.key', readFileSync(other.key, 'utf8')),
      ca: 'none.pem',
    };
    writeFileSync(config, JSON.stringify({ stateDir: 'var', mqtt }));
  });
  afterAll(() => dir.remove());

  const input = () => ({ file: config, env: {}, cwd: dir.path });
  const open = (): Configuration =>
    Configuration.open({ ...input(), toleratesFileFaults: true }, { clock: systemClock });

  it('are faults', () => {
    expect(() => loadLocal(input())).toThrow(/3 faults\nmqtt.password_file: .*\nmqtt.ca: .*\nmqtt.key: /);
  });

  it('are reported apart where they are tolerated, and only they', () => {
    const { settings, fileFaults } = loadLocal({ ...input(), toleratesFileFaults: true });
    expect(fileFaults.map((fault) => fault.key)).toEqual(['mqtt.password_file', 'mqtt.ca', 'mqtt.key']);
    expect(settings.mqtt).toMatchObject({ key: join(dir.path, 'pi.key'), password: null });
    const token = { SWELLSIGHT_HTTP_TOKEN_FILE: join(dir.path, 'none') };
    expect(() => loadLocal({ ...input(), env: token, toleratesFileFaults: true })).toThrow(
      /1 fault\nhttp.token_file: /,
    );
    const both = { SWELLSIGHT_MQTT_PASSWORD: 'secret' };
    expect(() => loadLocal({ ...input(), env: both, toleratesFileFaults: true })).toThrow(
      /mqtt.password_file: given both/,
    );
  });

  it('do not prevent a change of other settings or a restart, but new ones do', () => {
    const configuration = open();
    expect(configuration.fileFaults).toHaveLength(3);
    expect(() => configuration.restart()).not.toThrow();
    expect(configuration.set({ heartbeat: { intervalS: 60 } }, 60).answer).toMatchObject({
      changed: ['heartbeat.intervalS'],
    });
    configuration.close();
    const before = readFileSync(join(dir.path, 'pi.crt'), 'utf8');
    const after = open();
    write('pi.crt', before.slice(0, 300));
    expect(() => after.restart()).toThrow(/1 fault\nmqtt.cert: /);
    write('pi.crt', before);
    write('pi.key', key);
    expect(() => after.restart()).not.toThrow();
  });
});
