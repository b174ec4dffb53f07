import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { observation } from '../../fixtures/agent-api.ts';
import { httpServer } from '../../fixtures/camera-server.ts';
import { sendRequest, expectProblem, readToEnd, startServer } from '../../fixtures/http-server.ts';
import { freePort } from '../../fixtures/mosquitto.ts';
import { Documented } from '../../fixtures/openapi.ts';

const JPEG = readFileSync(join(import.meta.dirname, '../../fixtures/sea/sea-small.jpg'));

describe('stop of the server', () => {
  it('finishes open requests, and refuses new ones on old and new connections', async () => {
    await using site = await startServer();
    const finish: (() => void)[] = [];
    const asked = new Promise<void>((resolve) => {
      site.agent.captured = () => {
        resolve();
        return new Promise((answer) => finish.push(() => answer(observation)));
      };
    });
    const kept = connect(site.port, '127.0.0.1');
    await once(kept, 'connect');
    const open = site.ask('POST', '/api/v1/cameras/north/capture');
    await asked;
    const stopped = site.server.stop();
    for (const path of ['/api/v1/status', '/ready']) {
      const refused = await site.ask('GET', path);
      expectProblem(refused, 503, 'request_stopping');
      expect(refused.headers).toMatchObject({ 'retry-after': '5', connection: 'close' });
    }
    const live = await site.ask('GET', '/live');
    expect([live.status, live.headers.connection]).toEqual([200, 'close']);
    kept.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
    expect(await readToEnd(kept)).toMatch(/^HTTP\/1.1 503 [\s\S]*connection: close/i);
    for (const finishOne of finish) finishOne();
    const answer = await open;
    expect([answer.status, answer.headers.connection]).toEqual([200, 'close']);
    expect(answer.json()).toEqual(observation);
    await stopped;
    await expect(site.ask('GET', '/live')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('is immediate without open requests, also with open connections', async () => {
    await using site = await startServer();
    const idle = connect(site.port, '127.0.0.1');
    await once(idle, 'connect');
    const slow = connect(site.port, '127.0.0.1');
    slow.write('GET /live HTTP/1.1\r\nhost:');
    await delay(50);
    const closed = Promise.all([readToEnd(idle), readToEnd(slow)]);
    const begunMs = performance.now();
    await site.server.stop();
    expect(performance.now() - begunMs).toBeLessThan(5000);
    await closed;
  });

  it('responds with 503 to an unfinished request after seven seconds', async () => {
    await using site = await startServer();
    const slow = connect(site.port, '127.0.0.1');
    slow.write(
      'POST /api/v1/cameras/north/labels HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
    );
    await delay(100);
    const response = readToEnd(slow);
    const begunMs = performance.now();
    await site.server.stop();
    expect(performance.now() - begunMs).toBeLessThan(20_000);
    expect(await response).toMatch(/^HTTP\/1.1 503 [\s\S]*request_stopping/);
  });
});

describe('stop of the real agent', () => {
  it('finishes the open capture, ends the event stream, and exits without errors', async () => {
    // After the first frame, the camera holds its responses, so that a capture stays open until the test releases it.
    const held: ServerResponse[] = [];
    let holds = false;
    const show = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(JPEG);
    };
    const camera = await httpServer((_, response) => {
      if (holds) held.push(response);
      else show(response);
    });
    onTestFinished(() => camera.stop());
    const port = await freePort();
    await using agent = await RunningAgent.start({
      http: { port },
      mqtt: { embedded: { port: await freePort() } },
      cameras: [
        {
          id: 'cam',
          kind: 'http',
          url: `${camera.url}/now.jpg`,
          schedule: { everyS: 86_400 },
          burst: { frames: 1 },
          timeoutS: 60,
        },
      ],
    });
    await agent.observation();
    while ((await sendRequest({ port, method: 'GET', path: '/ready' })).status !== 200) await delay(200);
    const events = connect(port, '127.0.0.1');
    events.write('GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await once(events, 'data');
    const eventsEnd = readToEnd(events);
    holds = true;
    const capture = sendRequest({ port, method: 'POST', path: '/api/v1/cameras/cam/capture' });
    while (held.length === 0) await delay(20);
    const exit = agent.stop();
    const documented = new Documented();
    const refused = async (): Promise<boolean> => {
      const { status, headers, text } = await sendRequest({ port, method: 'GET', path: '/api/v1/status' });
      const contentType = headers['content-type'] ?? null;
      const seen = { status, contentType, body: text, headers };
      expect(documented.fault('GET', '/api/v1/status', seen)).toBeNull();
      return status === 503;
    };
    while (!(await refused())) await delay(20);
    expect([...documented.seen]).toContain('status 503 request_stopping');
    for (const response of held) show(response);
    const answer = await capture;
    expect([answer.status, answer.headers.connection]).toEqual([200, 'close']);
    expect(answer.json()).toMatchObject({ camera: 'cam', burst: { requested: 1 } });
    await eventsEnd;
    expect(await exit).toBe(0);
    expect(agent.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
    expect(agent.lines.at(-1)?.msg).toBe('stopped');
  });
});
