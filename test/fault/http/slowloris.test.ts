import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { sendRequest } from '../../fixtures/http-server.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const ATTACKERS = 500;
const ANSWERS = 20;
const HEADERS_WITHIN_MS = 10_000;
const HOST = 'host: localhost\r\n';

const ENDLESS_HEADERS = 'headers that never end';
/** What each attacker sends first, and then once a second. */
const ATTACKS: Readonly<Record<string, readonly [first: string, drip: string]>> = {
  [ENDLESS_HEADERS]: [`GET /live HTTP/1.1\r\n${HOST}`, 'a: b\r\n'],
  'bodies that never end': [
    `POST /api/v1/cameras/cam/labels HTTP/1.1\r\n${HOST}content-type: application/json\r\ncontent-length: 60000\r\n\r\n`,
    ' ',
  ],
  'uploads that never end': [
    `POST /api/v1/analyze HTTP/1.1\r\n${HOST}content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000000\r\n\r\n--x\r\n`,
    '-',
  ],
  'nothing at all': ['', ''],
};

class Attackers {
  readonly sockets: Socket[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, [first, drip]: readonly [string, string]) {
    for (let one = 0; one < ATTACKERS; one++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(first));
      socket.on('error', () => undefined).resume();
      this.sockets.push(socket);
    }
    this.#timer = setInterval(() => {
      for (const socket of this.sockets) if (drip !== '' && socket.writable) socket.write(drip);
    }, 1000);
  }

  get alive(): number {
    return this.sockets.filter((socket) => !socket.destroyed).length;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const socket of this.sockets) socket.destroy();
  }
}

describe('500 slow connections', () => {
  it('do not stop the server and the schedule', async () => {
    const port = await freePort();
    await using agent = await RunningAgent.start({
      http: { port, rateLimit: 1_000_000 },
      mqtt: { embedded: { port: await freePort() } },
      cameras: [
        {
          id: 'cam',
          kind: 'directory',
          path: join(import.meta.dirname, '../../fixtures/sea'),
          replay: 'loop',
          schedule: { everyS: 1 },
          burst: { frames: 1, intervalS: 0 },
        },
      ],
    });
    await agent.observation();
    const observed = (): number => agent.lines.filter(({ msg }) => msg === 'observation').length;
    for (const [name, attack] of Object.entries(ATTACKS)) {
      using attackers = new Attackers(port, attack);
      const before = observed();
      const tookMs: number[] = [];
      const lastMs = performance.now() + 20_000;
      // At least ANSWERS requests, and until the schedule has made an observation.
      while (tookMs.length < ANSWERS || (observed() === before && performance.now() < lastMs)) {
        const begunMs = performance.now();
        const live = await sendRequest({ port, method: 'GET', path: '/live' });
        tookMs.push(performance.now() - begunMs);
        expect([name, live.status]).toEqual([name, 200]);
        await delay(100);
      }
      tookMs.sort((a, b) => a - b);
      // Allow some slow responses, because the machine may be busy for a moment.
      expect([name, tookMs[Math.floor(tookMs.length * 0.9)]].join()).toMatch(/^[^,]*,\d{1,3}\./);
      expect([name, observed()]).not.toEqual([name, before]);
      // The server limits the open connections.
      expect(attackers.alive).toBeLessThanOrEqual(256);
      if (name !== ENDLESS_HEADERS) continue;
      const held = attackers.sockets.find((socket) => !socket.destroyed);
      expect(held).toBeDefined();
      if (held) await once(held, 'close', { signal: AbortSignal.timeout(3 * HEADERS_WITHIN_MS) });
    }
  });
});
