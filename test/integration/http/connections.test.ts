import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Connections, type ConnectionLimits } from '../../../src/http/connections.ts';
import { readToEnd } from '../../fixtures/http-server.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function startWithConnections(limits: Partial<ConnectionLimits>, timeoutMs = 60_000) {
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
  it('closes the longest idle connection, never one with an open request', async () => {
    const { connections, responses, open } = await startWithConnections({ maxConnections: 3 });
    const working = await open(get('/later'));
    const idle = await open();
    const used = await open(get('/now'));
    used.resume();
    const next = await open();
    expect(await readToEnd(idle)).toBe('');
    next.write(get('/now'));
    await once(next, 'data');
    expect(connections.count).toBe(3);
    responses[0]?.end('done');
    const [answer] = (await once(working, 'data')) as [Buffer];
    expect(answer.toString()).toContain('done');
    expect([used.destroyed, next.destroyed]).toEqual([false, false]);
  });

  it('closes a connection that sends its body slowly when none is idle', async () => {
    const { open } = await startWithConnections({ maxConnections: 2 });
    const working = await open(get('/later'));
    const slow = await open('POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1');
    const next = await open(get('/now'));
    await readToEnd(slow);
    expect([working.destroyed, next.destroyed]).toEqual([false, false]);
  });

  it('closes a slow connection before a few new idle ones', async () => {
    const { open } = await startWithConnections({ maxConnections: 3, sparedIdle: 1 });
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

  it('marks new connections as over the limit when all others have open requests', async () => {
    const { connections, open } = await startWithConnections({ maxConnections: 2 });
    const working = [await open(get('/later')), await open(get('/later'))];
    for (let one = 0; one < 10; one++) {
      const refused = await open(get('/now'));
      const [answer] = (await once(refused, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1.1 503/);
      expect(connections.count).toBeLessThanOrEqual(3);
    }
    expect(working.map(({ destroyed }) => destroyed)).toEqual([false, false]);
  });

  it('does not time out while the agent works, but while a client does not read', async () => {
    const { responses, open } = await startWithConnections({ maxConnections: 9 }, 200);
    const patient = await open(get('/later'));
    const notReading = await open(get('/later'));
    responses[1]?.end(Buffer.alloc(50_000_000));
    notReading.pause();
    await once(responses[1] ?? notReading, 'close');
    expect(responses[1]?.writableFinished).toBe(false);
    await delay(600);
    responses[0]?.end('at last');
    const [answer] = (await once(patient, 'data')) as [Buffer];
    expect(answer.toString()).toContain('at last');
    notReading.destroy();
  });
});
