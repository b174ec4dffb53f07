import { describe, expect, it } from 'vitest';
import { calibration, observation, OBSERVATION_ID } from '../../../fixtures/agent-api.ts';
import { settle, useCommandBenches, type CommandBench } from '../../../fixtures/commands.ts';

describe('Commands', () => {
  const openBench = useCommandBenches();
  const raisedEvents = (bench: CommandBench) =>
    bench.store.events.recent(100).map(({ code, context }) => [code, context['id'], context['count']]);

  it('answers every command', async () => {
    const bench = openBench();
    bench.send('ping', { id: '1' });
    bench.send('info', { id: '2' });
    bench.send('capture', { id: '3', args: { camera: 'north' } });
    bench.send('label', { id: '4', args: { observation_id: OBSERVATION_ID, height_m: 1 } });
    bench.send('label.remove', { id: '5', args: { observation_id: OBSERVATION_ID } });
    await settle();
    bench.send('image', { id: '6', args: { camera: 'north' } });
    bench.send('backfill', { id: '7', args: { camera: 'north', from_seq: 2, to_seq: 4 } });
    await settle();
    const results = new Map(bench.replies().map(({ id, status, result }) => [id, [status, result]]));
    expect(results.get('1')).toMatchObject(['succeeded', { pong: true }]);
    expect(results.get('2')).toEqual(['succeeded', bench.agent.info()]);
    expect(bench.agent.announced).toBe(1);
    expect(results.get('3')).toEqual(['succeeded', observation]);
    expect(results.get('4')).toEqual(['succeeded', calibration]);
    expect(results.get('5')).toEqual(['succeeded', calibration]);
    expect(results.get('6')).toMatchObject(['succeeded', { camera: 'north', size_bytes: 4 }]);
    expect(results.get('7')).toMatchObject(['succeeded', { queued: 3, gone: 0 }]);
  });

  it('runs a repeated command once, and sends the result to a limited number of requesters', async () => {
    const bench = openBench();
    let captures = 0;
    let finish: () => void = () => undefined;
    bench.agent.captured = () => {
      captures += 1;
      return new Promise((resolve) => (finish = () => resolve(observation)));
    };
    const body = { id: 'c', args: { camera: 'north' } };
    const answerTo = (topic: string, correlation: string) => ({
      responseTopic: bench.topics.absolute(`cmdres/${topic}`),
      correlationData: Buffer.from(correlation),
    });
    bench.send('capture', body, answerTo('a', '1'));
    bench.send('capture', body, answerTo('a', '1'));
    bench.send('capture', body, answerTo('a', '2'));
    bench.send('capture', body, answerTo('b', '1'));
    for (let n = 0; n < 10; n += 1) bench.send('capture', body, answerTo(`more/${n}`, '1'));
    await settle();
    finish();
    await settle();
    expect(captures).toBe(1);
    expect(
      bench
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

  it('remembers finished and interrupted commands across a restart', async () => {
    const bench = openBench();
    bench.agent.captured = () => new Promise(() => undefined);
    bench.send('ping', { id: 'p' });
    bench.send('capture', { id: 'c', args: { camera: 'north' } });
    await settle();
    bench.powerCut();
    bench.agent.captured = () => Promise.reject(new Error('ran again'));
    bench.send('capture', { id: 'c', args: { camera: 'north' } });
    bench.send('ping', { id: 'p' });
    bench.send('info', { id: 'p' });
    await settle();
    expect(bench.summaries()).toEqual([
      'p accepted',
      'c accepted',
      'p succeeded',
      'c accepted duplicate',
      'c failed command_interrupted duplicate',
      'p accepted duplicate',
      'p succeeded duplicate',
      'p rejected id_used_before',
    ]);
  });

  it('recognizes a repeated id in another JSON encoding', async () => {
    const bench = openBench();
    bench.send('ping', '{"id":"\\u0061"}');
    await settle();
    bench.send('ping', '{"id":"a"}');
    // These two ids look the same but are different.
    bench.send('ping', { id: 'é' });
    bench.send('ping', { id: 'e\u0301' });
    await settle();
    expect(bench.summaries().filter((text) => text.includes('duplicate'))).toEqual([
      'a accepted duplicate',
      'a succeeded duplicate',
    ]);
  });

  it('returns correlation data up to 1024 bytes, and rejects more', async () => {
    const bench = openBench();
    const long = Buffer.alloc(1024, 'x');
    bench.send('ping', { id: 'a' }, { correlationData: long });
    bench.send('ping', { id: 'b' }, { correlationData: Buffer.alloc(1025, 'x') });
    await settle();
    expect(bench.summaries().toSorted()).toEqual([
      'a accepted',
      'a succeeded',
      'rejected correlation_too_long',
    ]);
    expect(bench.replies().filter(({ correlation }) => correlation === long.toString())).toHaveLength(2);
  });

  it('checks the times of a command on arrival and before its run', async () => {
    let synced = false;
    const bench = openBench({ concurrency: 1 }, { clockSynced: () => synced }, 1000);
    const inMinutes = (n: number) => new Date(bench.clock.nowMs() + n * 60_000).toISOString();
    bench.send('ping', { id: 'boot', expires_at: inMinutes(1) });
    bench.send('ping', { id: 'old', expires_at: inMinutes(-1) });
    bench.send('ping', { id: 'free' });
    await bench.clock.pass(3_599_000);
    bench.send('ping', { id: 'later', expires_at: inMinutes(1) });
    synced = true;
    bench.send('ping', { id: 'future', issued_at: inMinutes(60), expires_at: inMinutes(61) });
    await settle();
    let finish: () => void = () => undefined;
    bench.agent.captured = () => new Promise((resolve) => (finish = () => resolve(observation)));
    bench.send('capture', { id: 'long', args: { camera: 'north' } });
    bench.send('ping', { id: 'queued', expires_at: inMinutes(1) });
    await settle();
    // The clock is set forward while the command waits.
    bench.clock.step(3_600_000);
    finish();
    await settle();
    const of = (id: string) => bench.summaries().filter((text) => text.startsWith(`${id} `));
    expect(of('boot')).toEqual(['boot rejected clock_unsynced']);
    expect(of('old')).toEqual(['old rejected expired']);
    expect(of('free')).toEqual(['free accepted', 'free succeeded']);
    expect(of('later')).toEqual(['later accepted', 'later succeeded']);
    expect(of('future')).toEqual(['future rejected issued_in_future']);
    expect(of('queued')).toEqual(['queued accepted', 'queued expired']);
    expect(raisedEvents(bench).toSorted()).toEqual([
      ['command_clock_unsynced', 'boot', 1],
      ['command_expired', 'old', 1],
      ['command_issued_in_future', 'future', 1],
    ]);
  });

  it('accepts commands at the configured rate, and rejects further ones as busy', async () => {
    const bench = openBench({ queueLimit: 1000, rate: { perS: 10, burst: 20 } });
    for (let n = 0; n < 100; n += 1) bench.send('ping', { id: `a${n}` });
    await settle();
    expect(bench.summaries().filter((text) => text.endsWith('rejected busy'))).toHaveLength(80);
    await bench.clock.pass(1000);
    for (let n = 0; n < 100; n += 1) bench.send('ping', { id: `a${n}` });
    await settle();
    // The finished commands get their stored result. These answers count toward the rate, because they may be large.
    expect(bench.summaries().filter((text) => text.endsWith('succeeded duplicate'))).toHaveLength(10);
    expect(bench.store.stats.read().rows['commands']).toBe(20);
  });

  it('sends rejections as bulk messages', async () => {
    const bench = openBench();
    bench.send('ping', 'nonsense');
    bench.send('ping', { id: 'p' });
    await settle();
    expect(bench.link.sent.map(({ options }) => options.bulk ?? false)).toEqual([true, false, false]);
    expect(bench.link.sent.every(({ options }) => options.qos === 1 && !options.retain)).toBe(true);
  });

  it('drops answers above the limit, and raises an event with their number', async () => {
    const bench = openBench();
    let open: () => void = () => undefined;
    bench.link.gate = new Promise((resolve) => (open = resolve));
    for (let n = 0; n < 3000; n += 1) bench.send('ping', 'nonsense');
    // A valid command is still answered.
    bench.send('ping', { id: 'p' });
    await settle();
    open();
    await settle();
    expect(bench.replies()).toHaveLength(514);
    expect(bench.summaries().slice(512)).toEqual(['p accepted', 'p succeeded']);
    await bench.clock.pass(60_000);
    expect(raisedEvents(bench).map(([code, , count]) => [code, count])).toEqual([
      ['command_unanswered', 2487],
      ['command_unanswered', 1],
    ]);
  });

  it('rejects a command whose log entry cannot be stored', async () => {
    const bench = openBench();
    const { commands } = bench.store;
    await bench.commands.stop();
    const failing = openBench(
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
    failing.send('capture', { id: 'x', args: { camera: 'north' } });
    await settle();
    expect(failing.summaries()).toEqual(['x rejected internal']);
  });

  it('answers running and waiting commands at a stop, and rejects later ones', async () => {
    const bench = openBench({ concurrency: 1 });
    bench.agent.captured = () => new Promise(() => undefined);
    bench.agent.serves = () => new Promise(() => undefined);
    for (const id of ['c1', 'c2']) bench.send('capture', { id, args: { camera: 'north' } });
    const source = { kind: 'repository' };
    bench.send('model.install', { id: 'i', args: { name: 'gauge', version: '1.1.0', source } });
    await settle();
    const stopped = bench.commands.stop();
    bench.send('ping', { id: 'late' });
    await stopped;
    const answers = bench.summaries();
    expect(answers.slice(0, 4)).toEqual([
      'c1 accepted',
      'c2 accepted',
      'i accepted',
      'late rejected stopping',
    ]);
    expect(answers.slice(4).toSorted()).toEqual([
      'c1 failed command_interrupted',
      'c2 failed command_interrupted',
    ]);
    expect(bench.contractFaults()).toEqual([]);
    // The answers are stored, so that a repeated command gets them after the restart.
    await bench.restart();
    bench.send('capture', { id: 'c2', args: { camera: 'north' } });
    await settle();
    expect(bench.summaries().slice(-2)).toEqual([
      'c2 accepted duplicate',
      'c2 failed command_interrupted duplicate',
    ]);
  });

  it('does not wait at a stop for an answer that cannot be sent', async () => {
    const bench = openBench();
    bench.agent.captured = () => new Promise(() => undefined);
    bench.send('capture', { id: 'c', args: { camera: 'north' } });
    await settle();
    bench.link.connected = false;
    await bench.commands.stop();
    expect(bench.summaries()).toEqual(['c accepted']);
  });
});
