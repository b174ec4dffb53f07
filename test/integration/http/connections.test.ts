import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Connections, type ConnectionLimits } from '../../../src/http/connections.ts';
import { received } from '../../fixtures/http-server.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function watched(limits: Partial<ConnectionLimits>, timeoutMs = 60_000) {
  const connections = new Connections({ maxConnections: 9, maxPipelined: 8, sparedIdle: 0, ...limits });
  const responses: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (connections.isOver(request.socket)) response.writeHead(503).end();
    else if (request.url === '/now') response.end('now');
    else responses.push(response);
  });
  server.setTimeout(timeoutMs);
  connections.attach(server);
  server.listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = async (bytes = ''): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(bytes);
    await delay(30);
    return socket;
  };
  return { connections, responses, open };
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;

describe('Connections', () => {
  it('lets the one go that was idle the longest, and none that is worked for', async () => {
    const { connections, responses, open } = await watched({ maxConnections: 3 });
    const working = await open(get('/later'));
    const idle = await open();
    const used = await open(get('/now'));
    used.resume();
    const next = await open();
    expect(await received(idle)).toBe('');
    next.write(get('/now'));
    await once(next, 'data');
    expect(connections.count).toBe(3);
    responses[0]?.end('worked for');
    const [answer] = (await once(working, 'data')) as [Buffer];
    expect(answer.toString()).toContain('worked for');
    expect([used.destroyed, next.destroyed]).toEqual([false, false]);
  });

  it('lets one go that sends its body slowly, when none is idle', async () => {
    const { open } = await watched({ maxConnections: 2 });
    const working = await open(get('/later'));
    const slow = await open('POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1');
    const next = await open(get('/now'));
    await received(slow);
    expect([working.destroyed, next.destroyed]).toEqual([false, false]);
  });

  it('lets a slow one go, too, before the few that have just come', async () => {
    const { open } = await watched({ maxConnections: 3, sparedIdle: 1 });
    const slow: Socket[] = [];
    const drip = async (): Promise<void> => {
      slow.push(await open('POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1'));
    };
    await drip();
    await drip();
    const asking = await open();
    for (let one = 0; one < 5; one += 1) await drip();
    asking.write(get('/now'));
    const [answer] = (await once(asking, 'data')) as [Buffer];
    expect(answer.toString()).toContain('now');
    expect(slow[0]?.destroyed).toBe(true);
  });

  it('refuses what comes when all are worked for, and never holds more than a few of those', async () => {
    const { connections, open } = await watched({ maxConnections: 2 });
    const working = [await open(get('/later')), await open(get('/later'))];
    for (let one = 0; one < 10; one++) {
      const refused = await open(get('/now'));
      const [answer] = (await once(refused, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1.1 503/);
      expect(connections.count).toBeLessThanOrEqual(3);
    }
    expect(working.map(({ destroyed }) => destroyed)).toEqual([false, false]);
  });

  it('waits for the agent as long as it takes, and for a client that does not read only so long', async () => {
    const { responses, open } = await watched({ maxConnections: 9 }, 200);
    const patient = await open(get('/later'));
    const deaf = await open(get('/later'));
    responses[1]?.end(Buffer.alloc(50_000_000));
    deaf.pause();
    await once(responses[1] ?? deaf, 'close');
    expect(responses[1]?.writableFinished).toBe(false);
    await delay(600);
    responses[0]?.end('at last');
    const [answer] = (await once(patient, 'data')) as [Buffer];
    expect(answer.toString()).toContain('at last');
    deaf.destroy();
  });
});
