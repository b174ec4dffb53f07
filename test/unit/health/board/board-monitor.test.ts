import { beforeEach, describe, expect, it } from 'vitest';
import type { EventDraft } from '../../../../src/contract/states.ts';
import { BoardMonitor } from '../../../../src/health/board/board-monitor.ts';
import type { BoardState } from '../../../../src/health/types.ts';
import { boardTree, RECORDED_BOARDS } from '../../../fixtures/boards/board-tree.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';
import { ManualClock as SleepingClock } from '../../../fixtures/manual-clock.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const ALARM = 'in0_lcrit_alarm';

let tree: ReturnType<typeof makeFileTree>;
let clock: ManualClock;
let events: EventDraft[];
beforeEach(() => {
  tree = makeFileTree();
  clock = new ManualClock();
  events = [];
});

const monitor = (root = tree.path, maxSlowdown = 8): BoardMonitor =>
  new BoardMonitor({ clock, raise: (event) => events.push(event), limits: () => ({ maxSlowdown }), root });

/** Samples every five seconds for a time and returns the last state. */
async function sampleFor(board: BoardMonitor, seconds: number): Promise<BoardState> {
  let state = await board.sample();
  for (let passed = 0; passed < seconds; passed += 5) {
    clock.advance(5000);
    state = await board.sample();
  }
  return state;
}
const temperature = (milliC: number): void => {
  tree.write('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n');
  tree.write('sys/class/thermal/thermal_zone0/temp', `${milliC}\n`);
};

describe('BoardMonitor on a Raspberry Pi 5', () => {
  const startPi5 = (): { board: BoardMonitor; setAlarm: (isOn: boolean) => void } => {
    const recorded = RECORDED_BOARDS['pi5'];
    if (recorded === undefined) throw new Error('no recorded Pi 5');
    const root = boardTree(recorded);
    return {
      board: monitor(root.path),
      setAlarm: (isOn) => root.write(`sys/class/hwmon/hwmon3/${ALARM}`, isOn ? '1\n' : '0\n'),
    };
  };

  it('reports a voltage that stays low although the word of the firmware is 0, and slows the cameras down', async () => {
    const { board, setAlarm } = startPi5();
    expect(await sampleFor(board, 30)).toMatchObject({ underVoltage: false, throttled: false, tempC: 47.2 });
    setAlarm(true);
    expect(await sampleFor(board, 5)).toMatchObject({ underVoltage: false });
    expect(await sampleFor(board, 10)).toMatchObject({
      underVoltage: true,
      throttled: true,
      slowdown: { factor: 2, reason: 'low_power' },
    });
    setAlarm(false);
    expect(await sampleFor(board, 30)).toMatchObject({ underVoltage: true });
    expect(await sampleFor(board, 40)).toMatchObject({ underVoltage: false, throttled: false });
    expect((await sampleFor(board, 310)).slowdown).toEqual({ factor: 1, reason: null });
    expect(events.map(({ type, code }) => `${type} ${code}`)).toEqual([
      'capture_slowdown low_power',
      'capture_slowdown ended',
    ]);
  });

  it('ignores an alarm that chatters: 16 of 173 samples, six changes in 90 s, as recorded at 4.79 V', async () => {
    const { board, setAlarm } = startPi5();
    // Three alarms of 5, 5 and 6 samples at an interval of 0.52 s.
    const isOn = (sample: number): boolean =>
      [20, 80, 140].some((begin, index) => sample >= begin && sample < begin + (index === 2 ? 6 : 5));
    let alarms = 0;
    for (let sample = 0; sample < 173; sample += 1) {
      setAlarm(isOn(sample));
      if (isOn(sample)) alarms += 1;
      clock.advance(520);
      expect(await board.sample()).toMatchObject({ underVoltage: false, slowdown: { factor: 1 } });
    }
    expect(alarms).toBe(16);
    expect(events).toEqual([]);
  });
});

describe('BoardMonitor on other boards', () => {
  it('slows down from 80 degrees on, stays until 75, and reports the heat once', async () => {
    temperature(79_000);
    const board = monitor();
    expect((await sampleFor(board, 60)).slowdown.factor).toBe(1);
    temperature(81_000);
    expect((await sampleFor(board, 15)).slowdown.factor).toBe(1);
    expect((await sampleFor(board, 10)).slowdown).toEqual({ factor: 2, reason: 'heat' });
    expect((await sampleFor(board, 300)).slowdown.factor).toBe(8);
    temperature(77_000);
    expect((await sampleFor(board, 1200)).slowdown.factor).toBe(8);
    temperature(70_000);
    expect((await sampleFor(board, 1000)).slowdown.factor).toBe(1);
    expect(events.map(({ code }) => code)).toEqual(['heat', 'ended']);
  });

  it('counts the over-current events of a Jetson within the last hour', async () => {
    const count = (events3: number): void => {
      tree.write('sys/class/hwmon/hwmon2/name', 'soctherm_oc\n');
      tree.write('sys/class/hwmon/hwmon2/oc1_event_cnt', '5\n');
      tree.write('sys/class/hwmon/hwmon2/oc3_event_cnt', `${events3}\n`);
    };
    count(100);
    const board = monitor();
    expect(await sampleFor(board, 10)).toMatchObject({ overCurrent1h: 0, throttled: false });
    count(103);
    expect(await sampleFor(board, 5)).toMatchObject({
      overCurrent1h: 3,
      throttled: true,
      slowdown: { factor: 2, reason: 'low_power' },
    });
    count(104);
    clock.advance(30 * 60_000);
    expect(await board.sample()).toMatchObject({ overCurrent1h: 4 });
    clock.advance(31 * 60_000);
    expect(await board.sample()).toMatchObject({ overCurrent1h: 1, throttled: false });
  });

  it('treats a hot surface as heat', async () => {
    tree.write('sys/class/thermal/cooling_device0/type', 'hot-surface-alert\n');
    tree.write('sys/class/thermal/cooling_device0/cur_state', '1\n');
    expect(await sampleFor(monitor(), 25)).toMatchObject({
      hotSurface: true,
      slowdown: { factor: 2, reason: 'heat' },
    });
  });

  it('reports nothing on a machine without sensors', async () => {
    expect(await sampleFor(monitor(), 600)).toEqual({
      tempC: null,
      throttled: null,
      underVoltage: null,
      hotSurface: null,
      overCurrent1h: null,
      lifeUsedPct: null,
      preEol: null,
      slowdown: { factor: 1, reason: null },
    });
    expect(events).toEqual([]);
  });

  it('samples until the signal aborts', async () => {
    temperature(90_000);
    const sleeping = new SleepingClock();
    const limits = () => ({ maxSlowdown: 8 });
    const raise = (event: EventDraft): number => events.push(event);
    const board = new BoardMonitor({ clock: sleeping, raise, limits, root: tree.path });
    const stop = new AbortController();
    const running = board.run(stop.signal);
    for (let step = 0; step < 6; step += 1) {
      await expect.poll(() => sleeping.sleepers).toBe(1);
      await sleeping.pass(5000);
    }
    await expect.poll(() => board.slowdown().factor).toBe(2);
    stop.abort();
    await running;
  });
});
