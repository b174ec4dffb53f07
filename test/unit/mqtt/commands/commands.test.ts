import { afterEach, describe, expect, it } from 'vitest';
import type { CommandsOptions, CommandsDeps } from '../../../../src/mqtt/commands/commands.ts';
import { calibration, observation, OBSERVATION_ID } from '../../../fixtures/agent-api.ts';
import { CommandBench, settle, SteppedClock } from '../../../fixtures/commands.ts';
import { contractFault } from '../../../fixtures/contract.ts';

describe('Commands', () => {
  const open: CommandBench[] = [];
  afterEach(() => {
    for (const bench of open.splice(0)) {
      const faults = bench.link.sent.map(({ topic, payload }) =>
        topic.startsWith('cmdres/')
          ? contractFault(bench.topics.absolute(topic), Buffer.from(payload))
          : null,
      );
      bench.close();
      expect(faults.filter(Boolean)).toEqual([]);
    }
  });

  function bench(options: CommandsOptions = {}, deps: Partial<CommandsDeps> = {}, upMs = 3_600_000) {
    const clock = new SteppedClock();
    clock.mono = upMs;
    const made = new CommandBench(clock, options, deps);
    open.push(made);
    return { clock, bench: made };
  }
  const brief = (bench: CommandBench) =>
    bench
      .replies()
      .map(({ id, status, reason, duplicate, error }) =>
        [id, status, reason ?? error?.code, duplicate === true ? 'again' : null].filter(Boolean).join(' '),
      );
  const events = (bench: CommandBench) =>
    bench.store.events.recent(100).map(({ code, context }) => [code, context['id'], context['count']]);

  it('answers every command', async () => {
    const { bench: one } = bench();
    one.send('ping', { id: '1' });
    one.send('info', { id: '2' });
    one.send('capture', { id: '3', args: { camera: 'north' } });
    one.send('label', { id: '4', args: { observation_id: OBSERVATION_ID, height_m: 1 } });
    one.send('label.remove', { id: '5', args: { observation_id: OBSERVATION_ID } });
    await settle();
    one.send('image', { id: '6', args: { camera: 'north' } });
    one.send('backfill', { id: '7', args: { camera: 'north', from_seq: 2, to_seq: 4 } });
    await settle();
    const results = new Map(one.replies().map(({ id, status, result }) => [id, [status, result]]));
    expect(results.get('1')).toMatchObject(['succeeded', { pong: true }]);
    expect(results.get('2')).toEqual(['succeeded', one.agent.info()]);
    expect(one.agent.announced).toBe(1);
    expect(results.get('3')).toEqual(['succeeded', observation]);
    expect(results.get('4')).toEqual(['succeeded', calibration]);
    expect(results.get('5')).toEqual(['succeeded', calibration]);
    expect(results.get('6')).toMatchObject(['succeeded', { camera: 'north', size_bytes: 4 }]);
    expect(results.get('7')).toMatchObject(['succeeded', { queued: 3, gone: 0 }]);
  });

  it('tells everyone who sent it, but runs it once', async () => {
    const { bench: one } = bench();
    let captures = 0;
    let finish: () => void = () => undefined;
    one.agent.captured = () => {
      captures += 1;
      return new Promise((resolve) => (finish = () => resolve(observation)));
    };
    const body = { id: 'c', args: { camera: 'north' } };
    const to = (place: string, correlation: string) => ({
      responseTopic: one.topics.absolute(`cmdres/${place}`),
      correlationData: Buffer.from(correlation),
    });
    one.send('capture', body, to('a', '1'));
    one.send('capture', body, to('a', '1'));
    one.send('capture', body, to('a', '2'));
    one.send('capture', body, to('b', '1'));
    for (let n = 0; n < 10; n += 1) one.send('capture', body, to(`more/${n}`, '1'));
    await settle();
    finish();
    await settle();
    expect(captures).toBe(1);
    expect(
      one
        .replies()
        .filter(({ status }) => status === 'succeeded')
        .map(({ topic, correlation, duplicate = false }) => [topic, correlation, duplicate]),
    ).toEqual([
      ['cmdres/a', '1', false],
      ['cmdres/a', '2', true],
      ['cmdres/b', '1', true],
      ['cmdres/more/0', '1', true],
    ]);
  });

  it('knows across a restart what ran, and what was cut short', async () => {
    const { bench: one } = bench();
    one.agent.captured = () => new Promise(() => undefined);
    one.send('ping', { id: 'p' });
    one.send('capture', { id: 'c', args: { camera: 'north' } });
    await settle();
    one.restart();
    one.agent.captured = () => Promise.reject(new Error('ran again'));
    one.send('capture', { id: 'c', args: { camera: 'north' } });
    one.send('ping', { id: 'p' });
    one.send('info', { id: 'p' });
    await settle();
    expect(brief(one)).toEqual([
      'p accepted',
      'c accepted',
      'p succeeded',
      'c accepted again',
      'c failed command_interrupted again',
      'p accepted again',
      'p succeeded again',
      'p rejected id_used_before',
    ]);
  });

  it('does not let the same id in twice however the letters are written', async () => {
    const { bench: one } = bench();
    one.send('ping', '{"id":"\\u0061"}');
    await settle();
    one.send('ping', '{"id":"a"}');
    // Looks the same, and is another one.
    one.send('ping', { id: 'é' });
    one.send('ping', { id: 'e\u0301' });
    await settle();
    expect(brief(one).filter((text) => text.includes('again'))).toEqual([
      'a accepted again',
      'a succeeded again',
    ]);
  });

  it('bounds and returns correlation data', async () => {
    const { bench: one } = bench();
    const long = Buffer.alloc(1024, 'x');
    one.send('ping', { id: 'a' }, { correlationData: long });
    one.send('ping', { id: 'b' }, { correlationData: Buffer.alloc(1025, 'x') });
    await settle();
    expect(brief(one).toSorted()).toEqual(['a accepted', 'a succeeded', 'rejected correlation_too_long']);
    expect(one.replies().filter(({ correlation }) => correlation === long.toString())).toHaveLength(2);
  });

  it('judges times when it comes and when its turn comes', async () => {
    let synced = false;
    const { bench: one, clock } = bench({ concurrency: 1 }, { clockSynced: () => synced }, 1000);
    const inMinutes = (n: number) => new Date(clock.nowMs() + n * 60_000).toISOString();
    one.send('ping', { id: 'boot', expires_at: inMinutes(1) });
    one.send('ping', { id: 'old', expires_at: inMinutes(-1) });
    one.send('ping', { id: 'free' });
    clock.mono = 3_600_000;
    one.send('ping', { id: 'later', expires_at: inMinutes(1) });
    synced = true;
    one.send('ping', { id: 'future', issued_at: inMinutes(60), expires_at: inMinutes(61) });
    await settle();
    let finish: () => void = () => undefined;
    one.agent.captured = () => new Promise((resolve) => (finish = () => resolve(observation)));
    one.send('capture', { id: 'long', args: { camera: 'north' } });
    one.send('ping', { id: 'queued', expires_at: inMinutes(1) });
    await settle();
    // The clock is set forward meanwhile.
    clock.wallMs += 3_600_000;
    finish();
    await settle();
    const of = (id: string) => brief(one).filter((text) => text.startsWith(`${id} `));
    expect(of('boot')).toEqual(['boot rejected clock_unsynced']);
    expect(of('old')).toEqual(['old rejected expired']);
    expect(of('free')).toEqual(['free accepted', 'free succeeded']);
    expect(of('later')).toEqual(['later accepted', 'later succeeded']);
    expect(of('future')).toEqual(['future rejected issued_in_future']);
    expect(of('queued')).toEqual(['queued accepted', 'queued expired']);
    expect(events(one).toSorted()).toEqual([
      ['command_clock_unsynced', 'boot', 1],
      ['command_expired', 'old', 1],
      ['command_issued_in_future', 'future', 1],
    ]);
  });

  it('takes ten a second, and rejects the others at once', async () => {
    const { bench: one, clock } = bench({ queueLimit: 1000, rate: { perS: 10, burst: 20 } });
    for (let n = 0; n < 100; n += 1) one.send('ping', { id: `a${n}` });
    await settle();
    expect(brief(one).filter((text) => text.endsWith('rejected busy'))).toHaveLength(80);
    await clock.pass(1000);
    for (let n = 0; n < 100; n += 1) one.send('ping', { id: `a${n}` });
    await settle();
    // Those which ran are told again; they count as well, for an answer may be large.
    expect(brief(one).filter((text) => text.endsWith('succeeded again'))).toHaveLength(10);
    expect(one.store.stats.read().rows['commands']).toBe(20);
  });

  it('answers rejections behind everything else', async () => {
    const { bench: one } = bench();
    one.send('ping', 'nonsense');
    one.send('ping', { id: 'p' });
    await settle();
    expect(one.link.sent.map(({ options }) => options.bulk ?? false)).toEqual([true, false, false]);
    expect(one.link.sent.every(({ options }) => options.qos === 1 && !options.retain)).toBe(true);
  });

  it('drops answers above its bound, and tells how many', async () => {
    const { bench: one, clock } = bench();
    let open: () => void = () => undefined;
    one.link.gate = new Promise((resolve) => (open = resolve));
    for (let n = 0; n < 3000; n += 1) one.send('ping', 'nonsense');
    // Who means it is answered all the same.
    one.send('ping', { id: 'p' });
    await settle();
    open();
    await settle();
    expect(one.replies()).toHaveLength(514);
    expect(brief(one).slice(512)).toEqual(['p accepted', 'p succeeded']);
    await clock.pass(60_000);
    expect(events(one).map(([code, , count]) => [code, count])).toEqual([
      ['command_unanswered', 2487],
      ['command_unanswered', 1],
    ]);
  });

  it('rejects what the store cannot remember', async () => {
    const { bench: one } = bench();
    const { commands } = one.store;
    one.commands.stop();
    const failing = new CommandBench(
      new SteppedClock(),
      {},
      {
        commandLog: {
          find: (id) => commands.find(id),
          begin: () => {
            throw new Error('disk I/O error in /var/lib/swellsight');
          },
          finish: () => undefined,
        },
      },
    );
    open.push(failing);
    failing.send('capture', { id: 'x', args: { camera: 'north' } });
    await settle();
    expect(brief(failing)).toEqual(['x rejected internal']);
  });

  it('says nothing more after its end', async () => {
    const { bench: one } = bench();
    one.agent.captured = () => Promise.resolve(observation);
    one.send('capture', { id: 'c', args: { camera: 'north' } });
    one.commands.stop();
    one.send('ping', { id: 'late' });
    await settle();
    expect(brief(one)).toEqual(['c accepted', 'late rejected stopping']);
  });
});
