import { expect, it } from 'vitest';
import { ReplaceableLink, type StartableLink } from '../../../../src/mqtt/link/replaceable-link.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';

/** A link that notes what it is told. */
class NotedLink implements StartableLink {
  readonly states: [string, unknown][] = [];
  readonly url: string;
  started = false;
  connected = false;
  maxPayloadBytes = 1000;
  stopped: Promise<void> | null = null;
  #end: () => void = () => undefined;

  constructor(url: string) {
    this.url = url;
  }

  start(): void {
    this.started = true;
    this.connected = true;
  }
  stop(): Promise<void> {
    this.connected = false;
    this.stopped ??= new Promise((resolve) => (this.#end = resolve));
    return this.stopped;
  }
  gone(): void {
    this.#end();
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

function made(): {
  made: NotedLink[];
  link: ReplaceableLink<string>;
  clock: ManualClock;
  stop: AbortController;
} {
  const links: NotedLink[] = [];
  const clock = new ManualClock();
  const make = (url: string): NotedLink => {
    const one = new NotedLink(url);
    links.push(one);
    return one;
  };
  const link = new ReplaceableLink<string>('a', make, { clock });
  const stop = new AbortController();
  link.start(stop.signal);
  return { made: links, link, clock, stop };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('leaves one broker before it goes to the other, and takes the states along, but not what has expired', async () => {
  const { made: links, link, clock } = made();
  link.setState('info', 1);
  link.setState('health', 2, { expiryS: 10 });
  link.setState('info', 3);
  await clock.pass(11_000);
  const replaced = link.replace('b');
  await turn();
  expect([links.length, link.connected]).toEqual([1, false]);
  link.setState('late', 4);
  links[0]?.gone();
  await replaced;
  expect(links[1]).toMatchObject({ url: 'b', started: true, states: [['info', 3], ['late', 4]] }); // prettier-ignore
  expect([link.connected, link.stats().broker]).toEqual([true, 'b']);
});

it('replacements come one after the other, and none after the end', async () => {
  const { made: links, link } = made();
  const [first, second] = [link.replace('b'), link.replace('c')];
  await turn();
  links[0]?.gone();
  await first;
  await turn();
  links[1]?.gone();
  await second;
  expect(links.map(({ url, connected }) => [url, connected])).toEqual([['a', false], ['b', false], ['c', true]]); // prettier-ignore
  const stopped = link.stop();
  await turn();
  links[2]?.gone();
  await stopped;
  await link.replace('d');
  expect(links).toHaveLength(3);
});

it('a stop in the middle of a replacement leaves nothing running', async () => {
  const { made: links, link } = made();
  const replaced = link.replace('b');
  await turn();
  const stopped = link.stop();
  links[0]?.gone();
  await replaced;
  await turn();
  links[1]?.gone();
  await stopped;
  expect(links.map(({ connected }) => connected)).toEqual([false, false]);
  expect(links[1]?.started).toBe(false);
});
