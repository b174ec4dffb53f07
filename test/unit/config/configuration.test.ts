import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change } from '../../../src/config/change.ts';
import { Configuration, type SettingsHost } from '../../../src/config/configuration.ts';
import { configDigest } from '../../../src/config/redact.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { AgentError } from '../../../src/base/errors.ts';
import type { EventDraft } from '../../../src/contract/states.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

const CAMERAS = [
  { id: 'north', kind: 'http', url: 'http://cam.example/1.jpg', username: 'u', password: 'hunter2' },
  { id: 'south', kind: 'simulated' },
];

/** Parts that note what they are told. */
class FakeHost implements SettingsHost {
  readonly changes: Change[] = [];
  readonly events: EventDraft[] = [];
  restarts = 0;
  link = true;
  failure: Error | null = null;

  apply = (change: Change): Promise<void> => {
    this.changes.push(change);
    return this.failure ? Promise.reject(this.failure) : Promise.resolve();
  };
  restart = (): void => void (this.restarts += 1);
  connected = (): boolean => this.link;
  raise = (event: EventDraft): void => void this.events.push(event);
}

let dir = '';
let clock: ManualClock;
let host: FakeHost;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-config-'));
  clock = new ManualClock();
  host = new FakeHost();
  write({});
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const file = (): string => join(dir, 'config.json');
const state = (name: string): string => join(dir, 'var', name);
function write(more: object): void {
  const settings = {
    stateDir: join(dir, 'var'),
    cameras: CAMERAS,
    mqtt: { url: 'mqtt://a.example' },
    ...more,
  };
  writeFileSync(file(), JSON.stringify(settings));
}
const open = (): Configuration => Configuration.open({ file: file(), env: {}, cwd: dir }, { clock });
/** A start of the process: whatever ran before is gone. */
function start(): Configuration {
  host = new FakeHost();
  const configuration = open();
  configuration.attach(host, configuration.settings);
  return configuration;
}
function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof AgentError ? error.code : String(error);
  }
  return 'none';
}
/** Sets a patch and lets it come into force. */
async function tried(configuration: Configuration, patch: object, withinS = 120): Promise<string> {
  const { answer, begin } = configuration.set(patch, withinS);
  begin();
  await clock.pass(0);
  return answer.trial ?? '';
}
const everyS = ({ cameras }: Settings): number | undefined => cameras[0]?.schedule.everyS;
const FASTER = { cameras: [{ id: 'north', schedule: { everyS: 20 } }] };

describe('a change on trial', () => {
  it('comes into force behind its answer, and says what it is', async () => {
    const configuration = start();
    const { answer, begin } = configuration.set({ ...FASTER, logLevel: 'debug' }, 60);
    expect(answer).toMatchObject({
      changed: ['logLevel', 'cameras.north.schedule'],
      live: ['logLevel', 'cameras.north.schedule'],
      link: [],
      restart: [],
      on_confirm: [],
      confirm_by: '2026-06-01T00:01:00.000Z',
      confirm_within_s: 60,
    });
    expect(host.changes).toEqual([]);
    expect(everyS(configuration.settings)).toBe(60);
    begin();
    await clock.pass(0);
    expect(host.changes).toHaveLength(1);
    expect(everyS(configuration.settings)).toBe(20);
    expect(configDigest(configuration.settings)).toBe(answer.config_digest);
    expect(configuration.view().trial).toMatchObject({ id: answer.trial, in_force: true, seconds_left: 60 });
  });

  it('begins by itself where the answer cannot be delivered', async () => {
    const configuration = start();
    const { begin } = configuration.set(FASTER, 60);
    await clock.pass(3000);
    expect(everyS(configuration.settings)).toBe(20);
    begin();
    await clock.pass(0);
    expect(host.changes).toHaveLength(1);
  });

  it('is undone in time, told of, and another may follow', async () => {
    const configuration = start();
    const before = configDigest(configuration.settings);
    const id = await tried(configuration, FASTER, 20);
    await clock.pass(19_000);
    expect(everyS(configuration.settings)).toBe(20);
    await clock.pass(1500);
    expect(configDigest(configuration.settings)).toBe(before);
    expect(host.changes[1]?.keys).toEqual(['cameras.north.schedule']);
    expect(host.events).toEqual([
      expect.objectContaining({
        type: 'config_undone',
        code: 'config_not_confirmed',
        context: { trial: id, reason: 'not_confirmed', keys: ['cameras.north.schedule'] },
      }),
    ]);
    expect(existsSync(state('config-trial.json'))).toBe(false);
    expect(code(() => configuration.confirm(id))).toBe('config_trial_unknown');
    await tried(configuration, FASTER);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('stays when it is confirmed, whatever happens then', async () => {
    const configuration = start();
    const id = await tried(configuration, FASTER, 20);
    expect(configuration.confirm(null)).toMatchObject({ trial: id, changed: ['cameras.north.schedule'] });
    await clock.pass(100_000);
    expect(everyS(configuration.settings)).toBe(20);
    expect(everyS(start().settings)).toBe(20);
    expect(host.events).toEqual([]);
  });

  it('may be confirmed twice by its id, and by no other', async () => {
    const configuration = start();
    expect(code(() => configuration.confirm(null))).toBe('config_trial_unknown');
    const id = await tried(configuration, FASTER);
    expect(code(() => configuration.confirm('another'))).toBe('config_trial_unknown');
    configuration.confirm(id);
    expect(configuration.confirm(id)).toMatchObject({ trial: id });
    expect(code(() => configuration.confirm(null))).toBe('config_trial_unknown');
    expect(host.events.map(({ type }) => type)).toEqual(['config_changed']);
  });

  it('cannot be confirmed before it is in force', async () => {
    const configuration = start();
    const { answer, begin } = configuration.set({ mqtt: { url: 'mqtt://b.example' } }, 60);
    expect(code(() => configuration.confirm(answer.trial))).toBe('config_busy');
    host.link = false;
    begin();
    await clock.pass(0);
    expect(code(() => configuration.confirm(answer.trial))).toBe('config_busy');
    host.link = true;
    configuration.confirm(answer.trial);
  });

  it('waits some seconds for it to be in force, and not for ever', async () => {
    const configuration = start();
    const { answer, begin } = configuration.set({ mqtt: { url: 'mqtt://b.example' } }, 60);
    const { signal } = new AbortController();
    host.link = false;
    begin();
    const late = configuration
      .confirmSoon(answer.trial, signal)
      .catch((error: unknown) => (error as AgentError).code);
    await clock.pass(6000);
    expect(await late).toBe('config_busy');
    const soon = configuration.confirmSoon(answer.trial, signal);
    await clock.pass(1000);
    host.link = true;
    await clock.pass(200);
    expect(await soon).toMatchObject({ trial: answer.trial });
    await expect(configuration.confirmSoon('other', signal)).rejects.toMatchObject({
      code: 'config_trial_unknown',
    });
  });

  it('keeps another one out, and is not disturbed by it', async () => {
    const configuration = start();
    const id = await tried(configuration, FASTER);
    for (let count = 0; count < 1000; count += 1)
      expect(code(() => configuration.set({ logLevel: 'trace' }, 60))).toBe('config_busy');
    configuration.confirm(id);
    expect(configuration.settings.logLevel).toBe('info');
  });

  it('lasts as long as it was given, whatever the wall clock says', async () => {
    const configuration = start();
    await tried(configuration, FASTER, 60);
    clock.step(400 * 86_400_000);
    await clock.pass(30_000);
    expect(everyS(configuration.settings)).toBe(20);
    clock.step(-800 * 86_400_000);
    await clock.pass(31_000);
    expect(everyS(configuration.settings)).toBe(60);
  });

  it('a change that changes nothing is not tried', () => {
    const configuration = start();
    expect(configuration.set({ logLevel: 'info' }, 60).answer).toMatchObject({ trial: null, changed: [] });
    expect(configuration.set({}, 60).answer).toMatchObject({ trial: null, changed: [] });
    expect(configuration.view().trial).toBeNull();
    expect(configuration.view().overlay).toEqual({ logLevel: 'info' });
  });

  it('bounds of the store wait for the confirmation: what they delete does not come back', async () => {
    const configuration = start();
    const { answer, begin } = configuration.set({ logLevel: 'warn', store: { retentionDays: 1 } }, 60);
    begin();
    await clock.pass(0);
    expect(answer).toMatchObject({ live: ['logLevel'], on_confirm: ['store.retentionDays'] });
    expect(configuration.settings).toMatchObject({ logLevel: 'warn', store: { retentionDays: 90 } });
    configuration.confirm(null);
    expect(configuration.settings.store.retentionDays).toBe(1);
    expect(host.changes[1]?.keys).toEqual(['store.retentionDays']);
    expect(start().settings.store.retentionDays).toBe(1);
  });
});

describe('the broker during a trial', () => {
  it('a broker that is lost for a minute undoes the change', async () => {
    const configuration = start();
    await tried(configuration, { mqtt: { url: 'mqtt://nowhere.example' } }, 600);
    expect(host.changes[0]?.link).toEqual(['mqtt.url']);
    host.link = false;
    await clock.pass(58_000);
    expect(configuration.settings.mqtt.url).toEqual(['mqtt://nowhere.example']);
    await clock.pass(3000);
    expect(configuration.settings.mqtt.url).toEqual(['mqtt://a.example']);
    expect(host.changes[1]?.link).toEqual(['mqtt.url']);
    expect(host.events[0]?.context['reason']).toBe('broker_lost');
  });

  it('a short loss undoes nothing', async () => {
    const configuration = start();
    await tried(configuration, FASTER, 600);
    for (let round = 0; round < 5; round += 1) {
      host.link = false;
      await clock.pass(40_000);
      host.link = true;
      await clock.pass(1000);
    }
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('a broker that was not there is not lost by the change', async () => {
    const configuration = start();
    host.link = false;
    const id = await tried(configuration, FASTER, 600);
    await clock.pass(300_000);
    expect(everyS(configuration.settings)).toBe(20);
    configuration.confirm(id);
  });

  it('without a link at the end the broker is blamed', async () => {
    const configuration = start();
    await tried(configuration, FASTER, 20);
    host.link = false;
    await clock.pass(21_000);
    expect(host.events[0]?.context['reason']).toBe('broker_lost');
  });
});

describe('a change that needs a new start', () => {
  it('asks for it, counts through it, and is confirmed behind it', async () => {
    const configuration = start();
    const id = await tried(configuration, { inference: { timeoutS: 3 } }, 60);
    expect([host.restarts, host.changes.length]).toEqual([1, 0]);
    expect(code(() => configuration.confirm(id))).toBe('config_busy');
    const next = new FakeHost();
    const { settings } = configuration;
    expect(settings.inference.timeoutS).toBe(3);
    configuration.attach(next, settings);
    configuration.confirm(id);
    expect(next.events.map(({ type }) => type)).toEqual(['config_changed']);
  });

  it('undone while nothing runs: the next parts get the former settings, and the event', async () => {
    const configuration = start();
    const detach = configuration.attach(host, configuration.settings);
    await tried(configuration, { inference: { timeoutS: 3 } }, 20);
    const { settings } = configuration;
    detach();
    await clock.pass(21_000);
    expect(configuration.settings.inference.timeoutS).toBe(10);
    expect(host.events).toEqual([]);
    // They had begun to start with what was tried.
    const next = new FakeHost();
    configuration.attach(next, settings);
    expect(next.events[0]?.type).toBe('config_undone');
    expect(next.restarts).toBe(1);
  });

  it('that does not come up is undone; without a trial a start that fails is a failure', async () => {
    const configuration = start();
    expect(configuration.startFailed()).toBe(false);
    await tried(configuration, { http: { port: 1 } });
    expect(configuration.startFailed()).toBe(true);
    expect(configuration.settings.http.port).toBe(8080);
    expect(host.events[0]?.context['reason']).toBe('start_failed');
    expect(configuration.startFailed()).toBe(false);
  });

  it('a change that cannot be applied is undone', async () => {
    const configuration = start();
    host.failure = new Error('no');
    await tried(configuration, FASTER);
    await clock.pass(0);
    expect(everyS(configuration.settings)).toBe(60);
    expect(host.events[0]?.context['reason']).toBe('not_applied');
    // What brings the former settings back fails as well: a new start does it.
    expect(host.restarts).toBe(1);
  });
});

describe('a power cut', () => {
  it('before the confirmation: the former settings, and the event', async () => {
    await tried(start(), FASTER);
    const after = start();
    expect(everyS(after.settings)).toBe(60);
    expect(host.events).toEqual([
      expect.objectContaining({ type: 'config_undone', code: 'config_interrupted' }),
    ]);
    expect(start().view().overlay).toEqual({});
    expect(host.events).toEqual([]);
  });

  it('between the confirmed overlay and the end of the trial: it is confirmed', async () => {
    const configuration = start();
    await tried(configuration, FASTER);
    const trial = readFileSync(state('config-trial.json'));
    configuration.confirm(null);
    writeFileSync(state('config-trial.json'), trial);
    expect(everyS(start().settings)).toBe(20);
    expect(host.events).toEqual([]);
    expect(existsSync(state('config-trial.json'))).toBe(false);
  });

  it('with a half-written file beside it: what stood before', async () => {
    const configuration = start();
    await tried(configuration, FASTER);
    configuration.confirm(null);
    writeFileSync(state('config-overlay.json.part'), '{"format":1,"over');
    expect(everyS(start().settings)).toBe(20);
  });

  it.each(['', '{', '[]', '{"format":2}', '{"format":1,"overlay":5}', '\0'.repeat(4096)])(
    'an overlay of %j is set aside, told of, and the agent starts',
    (text) => {
      mkdirSync(join(dir, 'var'));
      writeFileSync(state('config-overlay.json'), text);
      const configuration = start();
      expect(everyS(configuration.settings)).toBe(60);
      expect(host.events.map(({ type }) => type)).toEqual(['config_overlay_dropped']);
      expect(readdirSync(join(dir, 'var')).some((name) => name.includes('.broken-'))).toBe(true);
      expect(start().view().overlay).toEqual({});
      expect(host.events).toEqual([]);
    },
  );

  it('a trial file of any content is an end without a word lost', () => {
    mkdirSync(join(dir, 'var'));
    writeFileSync(state('config-trial.json'), '\0\0\0');
    start();
    expect(host.events[0]?.context['reason']).toBe('interrupted');
  });

  it('an overlay that no longer fits the local file is set aside', async () => {
    const configuration = start();
    await tried(configuration, { cameras: [{ id: 'south', schedule: { everyS: 2 } }] });
    configuration.confirm(null);
    write({ cameras: [CAMERAS[0], { id: 'south', kind: 'simulated', burst: { frames: 9, intervalS: 1 } }] });
    start();
    expect(host.events[0]).toMatchObject({
      type: 'config_overlay_dropped',
      context: { reason: 'it does not fit: cameras[1].burst' },
    });
  });

  it('what is written is for nobody else to read', async () => {
    const configuration = start();
    await tried(configuration, { mqtt: { username: 'u', password: 'swordfish' } });
    expect(readFileSync(state('config-trial.json'), 'utf8')).not.toContain('swordfish');
    configuration.confirm(null);
    expect(readFileSync(state('config-overlay.json'), 'utf8')).toContain('swordfish');
    expect(statSync(state('config-overlay.json')).mode & 0o077).toBe(0);
    expect(start().settings.mqtt.password).toBe('swordfish');
  });
});

describe('what is refused', () => {
  it('names every fault, changes nothing and writes nothing', () => {
    const configuration = start();
    let told = '';
    try {
      configuration.set(
        {
          logLevel: 'loud',
          mqtt: { url: 'http://user:hunter3@h' },
          cameras: [{ id: 'north', schedule: { cron: '99 * * * *' }, timeoutS: -1 }],
        },
        60,
      );
    } catch (error) {
      told = (error as Error).message;
    }
    expect(told).toMatch(/^the change has 4 faults\n/);
    for (const key of ['logLevel', 'mqtt.url', 'cameras[0].timeoutS', 'cameras[0].schedule.cron'])
      expect(told).toContain(`${key}: wanted`);
    expect(told).not.toContain('hunter3');
    expect(configuration.view()).toMatchObject({ overlay: {}, trial: null });
    expect(existsSync(state('config-trial.json'))).toBe(false);
  });

  it('an overlay that grows without end', () => {
    const configuration = start();
    const masks = Array.from({ length: 32 }, () =>
      Array.from({ length: 64 }, (_, i) => [i / 64, (i % 2) * 0.5]),
    );
    const cameras = Array.from({ length: 20 }, (_, i) => ({
      id: `c${String(i)}`,
      kind: 'simulated',
      privacyMasks: masks,
    }));
    expect(code(() => configuration.set({ cameras }, 60))).toBe('config_invalid');
  });

  it('deep nesting', () => {
    const deep = JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`) as unknown;
    const configuration = start();
    expect(code(() => configuration.set({ cameras: [{ id: 'north', roi: deep }] }, 60))).toBe(
      'config_invalid',
    );
    expect(code(() => configuration.set({ mqtt: { url: deep } }, 60))).toBe('config_invalid');
    expect(code(() => configuration.set({ http: { port: deep } }, 60))).toBe('config_invalid');
  });

  it('a camera of the local file cannot be taken away', async () => {
    const configuration = start();
    await tried(configuration, {
      cameras: [
        { id: 'north', remove: true },
        { id: 'south', remove: true },
      ],
    });
    await tried(configuration, { cameras: [] });
    await tried(configuration, { cameras: null });
    expect(configuration.settings.cameras.map(({ id }) => id)).toEqual(['north', 'south']);
  });

  it('a state folder that cannot be written', () => {
    const configuration = start();
    rmSync(join(dir, 'var'), { recursive: true, force: true });
    writeFileSync(join(dir, 'var'), 'a file');
    expect(code(() => configuration.set(FASTER, 60))).toBe('store_failed');
    expect(configuration.view().trial).toBeNull();
  });
});

describe('config.get', () => {
  it('shows no secret, neither of the file nor of the overlay', async () => {
    const configuration = start();
    await tried(configuration, {
      mqtt: { url: 'mqtt://u2:swordfish@b.example', username: null },
      cameras: [
        { id: 'north', password: 'swordfish' },
        { id: 'east', kind: 'http', url: 'http://u3:swordfish@e.example/1.jpg?token=swordfish' },
      ],
    });
    configuration.confirm(null);
    write({
      cameras: [...CAMERAS, { id: 'shell', kind: 'command', command: ['grab', '--pass', 'swordfish'] }],
    });
    configuration.restart().begin();
    const text = JSON.stringify(configuration.view());
    expect(text).toContain('"command":["grab"]');
    expect(text).not.toMatch(/swordfish|hunter2|"u2|"u3/);
    expect(configuration.view().overlay).toMatchObject({ mqtt: { url: 'mqtt://***@b.example' } });
    expect(configuration.view().local_keys).toContain('model.trustRoot');
  });
});

describe('restart', () => {
  it('reads the local file anew, and starts behind the answer', async () => {
    const configuration = start();
    write({ logLevel: 'warn' });
    const { answer, begin } = configuration.restart();
    expect([answer, host.restarts]).toEqual([{ restarting: true }, 0]);
    begin();
    begin();
    await clock.pass(5000);
    expect([host.restarts, configuration.settings.logLevel]).toEqual([1, 'warn']);
  });

  it('does not begin with a local file that has become wrong', () => {
    const configuration = start();
    write({ logLevel: 'loud' });
    expect(code(() => configuration.restart())).toBe('config_invalid');
  });

  it('a change of the local file does not come in with a change that was sent', async () => {
    const configuration = start();
    write({ site: 'elsewhere' });
    await tried(configuration, FASTER);
    expect(configuration.settings.site).toBe('local');
    expect(host.changes[0]?.keys).toEqual(['cameras.north.schedule']);
  });

  it('during a trial keeps the trial', async () => {
    const configuration = start();
    const id = await tried(configuration, FASTER);
    configuration.restart().begin();
    expect(host.restarts).toBe(1);
    const next = new FakeHost();
    configuration.attach(next, configuration.settings);
    configuration.confirm(id);
    expect(everyS(configuration.settings)).toBe(20);
  });
});
