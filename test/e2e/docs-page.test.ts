import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { hasBrowser, showPage } from '../fixtures/browser.ts';
import { openApi } from '../fixtures/openapi.ts';

describe.skipIf(!hasBrowser)('Pages of a running agent in a browser (needs the package chromium)', () => {
  let agent: RunningAgent;
  beforeAll(async () => {
    agent = await RunningAgent.start({
      mqtt: { embedded: { port: 0 } },
      cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS: 3600 }, burst: { frames: 1 } }],
    });
    const isUp = () =>
      fetch(agent.url).then(
        ({ ok }) => ok,
        () => false,
      );
    await vi.waitUntil(isUp, { timeout: 60_000 });
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  it('describes the agent on /, and links to /docs', async () => {
    const { dom, console: logged } = await showPage(`${agent.url}/`);
    expect(dom).toMatch(/<h1>SwellSight Edge \d+\.\d+\.\d+/);
    expect(dom).toContain('An edge agent that reads wave heights');
    expect(dom).toContain('href="/docs"');
    expect(logged).toEqual([]);
  });

  it('shows every operation on /docs without a violation of its content security policy', async () => {
    const { dom, console: logged } = await showPage(`${agent.url}/docs`);
    const shown = [...dom.matchAll(/class="opblock opblock-(\w+)[^"]*" id="operations-(\w+)-(\w+)"/g)];
    const expected = Object.values(openApi().paths).flatMap((methods) =>
      Object.entries(methods).map(([method, { operationId }]) => `${method} ${operationId}`),
    );
    expect(shown.map(([, method, , id]) => `${method} ${id}`).sort()).toEqual(expected.sort());
    expect(dom).toContain('data-path="/api/v1/analyze"');
    expect(logged).toEqual([]);
  });

  it('sends a policy by which the browser refuses inline scripts and scripts of other origins', async () => {
    const page = await fetch(`${agent.url}/docs`);
    const policy = page.headers.get('content-security-policy') ?? '';
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html', 'content-security-policy': policy })
        .end(`<p id="at">before</p><script>document.getElementById('at').textContent = 'after';</script>
          <script src="${agent.url}/docs/start.js"></script>`);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      const { dom, console: logged } = await showPage(`http://127.0.0.1:${port}/`);
      expect(dom).toContain('<p id="at">before</p>');
      expect(logged.filter((line) => line.includes('Content Security Policy'))).toHaveLength(2);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
