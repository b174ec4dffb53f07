import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { settingsDefinition } from '../../src/config/definition.ts';
import { listSettings } from '../../src/config/setting.ts';
import { getConfigFaults } from '../../src/config/faults.ts';
import { loadSettings } from '../../src/config/load.ts';
import { nestKeys } from '../../src/config/layers.ts';
import { findNearest } from '../../src/config/faults.ts';
import { AgentError } from '../../src/base/errors.ts';

const leaves = listSettings(settingsDefinition());
const load = (overlay: unknown, env: NodeJS.ProcessEnv = {}) =>
  loadSettings({ file: null, env, cwd: '/', overlay });

/** Returns the faults of a document. Any error other than `config_invalid` is a crash. */
function tryLoad(overlay: unknown, env: NodeJS.ProcessEnv = {}) {
  try {
    load(overlay, env);
    return [];
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'config_invalid') throw error;
    const faults = getConfigFaults(error);
    expect(faults.length).toBeGreaterThan(0);
    return faults;
  }
}

describe('loadSettings', () => {
  it('returns settings or faults for any document', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (document) => {
        tryLoad(document);
      }),
      { numRuns: 40 },
    );
  });

  it('accepts any value of any key, or reports it under that key', () => {
    const value = fc.oneof(
      fc.jsonValue(),
      fc.string(),
      fc.double(),
      fc.constantFrom(null, '', '0', 0, -1, [], {}, true, 'auto'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...leaves), value, ({ key }, given) => {
        const faults = tryLoad(nestKeys(new Map([[key, given]])));
        for (const fault of faults)
          expect(
            fault.key.startsWith(key) ||
              ['http.token', 'mqtt.cert', 'mqtt.key', 'mqtt.embedded.port'].includes(fault.key),
          ).toBe(true);
      }),
      { numRuns: 120 },
    );
  });

  it('returns settings or faults for any mixture of camera keys', () => {
    const camera = fc.record(
      {
        id: fc.oneof(fc.string(), fc.constantFrom('a', 'b')),
        kind: fc.constantFrom('rtsp', 'http', 'simulated', 'directory', 'command', 'nonsense'),
        url: fc.oneof(fc.webUrl(), fc.constant('rtsp://h/1'), fc.string()),
        path: fc.string(),
        command: fc.array(fc.string()),
        password: fc.string(),
        schedule: fc.record(
          {
            cron: fc.oneof(fc.string(), fc.constantFrom('* * * * *', '0 0 31 2 *')),
            everyS: fc.double(),
            timezone: fc.oneof(fc.string(), fc.constant('UTC')),
            sun: fc.record({ from: fc.constantFrom('dawn', 'noon'), to: fc.constantFrom('dusk', 'dawn') }),
          },
          { requiredKeys: [] },
        ),
        roi: fc.array(fc.tuple(fc.double(), fc.double())),
        burst: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(camera, { maxLength: 3 }), (cameras) => {
        tryLoad({ cameras });
      }),
      { numRuns: 50 },
    );
  });

  it('accepts any text in any variable, or reports it under the key of the variable', () => {
    fc.assert(
      fc.property(fc.constantFrom(...leaves), fc.string({ minLength: 1 }), ({ key, setting }, text) => {
        for (const fault of tryLoad({}, { [setting.env]: text }))
          expect(
            [key, 'http.token', 'mqtt.cert', 'mqtt.key', 'mqtt.embedded.port', `${key}_file`].some((name) =>
              fault.key.startsWith(name),
            ),
          ).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe('findNearest', () => {
  it('finds a known name for each name with two letters swapped', () => {
    const names = leaves.map(({ setting }) => setting.env);
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.nat(), (name, at) => {
        const index = at % (name.length - 1);
        const swapped =
          name.slice(0, index) + (name[index + 1] ?? '') + (name[index] ?? '') + name.slice(index + 2);
        expect(names).toContain(findNearest(swapped, names));
      }),
    );
  });
});
