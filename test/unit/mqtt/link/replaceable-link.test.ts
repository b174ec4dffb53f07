import { describe, expect, it } from 'vitest';
import { ReplaceableLink, type StartableLink } from '../../../../src/mqtt/link/replaceable-link.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';

/** Records the calls of its methods. */
class RecordedLink implements StartableLink {
  readonly states: [string, unknown][] = [];
  readonly url: string;
  started = false;
  connected = false;
  maxPayloadBytes = 1000;
  stopped: Promise<void> | null = null;
  #resolveStop: () => void = () => undefined;

  constructor(url: string) {
    this.url = url;
  }

  start(): void {
    this.started = true;
    this.connected = true;
  }
  stop(): Promise<void> {
    this.connected = false;
    this.stopped ??= new Promise((resolve) => (this.#resolveStop = resolve));
    return this.stopped;
  }
  finishStop(): void {
    this.#resolveStop();
  }
  setState(topic: string, payload: unknown): void {
    this.states.push([topic, payload]);
  }
  announce = (): Promise<void> => Promise.resolve();
  publish = (): Promise<void> => Promise.resolve();
  stats = () => ({
    connectedSinceMs: null,
    reconnects1h: 0,
    rttMs: null,
    broker: this.url,
    protocolVersion: null,
  });
}

function setUp(): {
  links: RecordedLink[];
  link: ReplaceableLink<string>;
  clock: ManualClock;
  stop: AbortController;
} {
  const links: RecordedLink[] = [];
  const clock = new ManualClock();
  const create = (url: string): RecordedLink => {
    const one = new RecordedLink(url);
    links.push(one);
    return one;
  };
  const link = new ReplaceableLink<string>('a', create, { clock });
  const stop = new AbortController();
  link.start(stop.signal);
  return { links, link, clock, stop };
}
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('ReplaceableLink', () => {
  it('disconnects before it connects again, and passes on all states that have not expired', async () => {
    const { links, link, clock } = setUp();
    link.setState('info', 1);
    link.setState('health', 2, { expiryS: 10 });
    link.setState('info', 3);
    await clock.pass(11_000);
    const replaced = link.replace('b');
    await nextTurn();
    expect([links.length, link.connected]).toEqual([1, false]);
    link.setState('late', 4);
    links[0]?.finishStop();
    await replaced;
    expect(links[1]).toMatchObject({ url: 'b', started: true, states: [['info', 3], ['late', 4]] }); // prettier-ignore
    expect([link.connected, link.stats().broker]).toEqual([true, 'b']);
  });

  it('publishes the last states only to the broker that it leaves, and no state there after them', async () => {
    const { links, link } = setUp();
    link.setState('camera/north/state', { state: 'up' });
    const replaced = link.replace('b', () => [['camera/north/state', { state: 'down' }]]);
    await nextTurn();
    link.setState('camera/north/state', { state: 'frozen' });
    links[0]?.finishStop();
    await replaced;
    expect(links.map(({ states }) => states.map(([, state]) => state))).toEqual([
      [{ state: 'up' }, { state: 'down' }],
      [{ state: 'frozen' }],
    ]);
  });

  it('replaces one after the other, and not after stop', async () => {
    const { links, link } = setUp();
    const [first, second] = [link.replace('b'), link.replace('c')];
    await nextTurn();
    links[0]?.finishStop();
    await first;
    await nextTurn();
    links[1]?.finishStop();
    await second;
    expect(links.map(({ url, connected }) => [url, connected])).toEqual([['a', false], ['b', false], ['c', true]]); // prettier-ignore
    const stopped = link.stop();
    await nextTurn();
    links[2]?.finishStop();
    await stopped;
    await link.replace('d');
    expect(links).toHaveLength(3);
  });

  it('stops in the middle of a replacement', async () => {
    const { links, link } = setUp();
    const replaced = link.replace('b');
    await nextTurn();
    const stopped = link.stop();
    links[0]?.finishStop();
    await replaced;
    await nextTurn();
    links[1]?.finishStop();
    await stopped;
    expect(links.map(({ connected }) => connected)).toEqual([false, false]);
    expect(links[1]?.started).toBe(false);
  });
});
