import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { hasBrowser, showPage } from '../fixtures/browser.ts';
import { openApi } from '../fixtures/openapi.ts';

describe.skipIf(!hasBrowser)(
  'the pages of a running agent, in a real browser (needs the package chromium)',
  () => {
    let agent: RunningAgent;
    beforeAll(async () => {
      agent = await RunningAgent.start({
        mqtt: { embedded: { port: 0 } },
        cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS: 3600 }, burst: { frames: 1 } }],
      });
      const answers = () =>
        fetch(agent.url).then(
          ({ ok }) => ok,
          () => false,
        );
      await vi.waitUntil(answers, { timeout: 60_000 });
    });
    afterAll(() => agent[Symbol.asyncDispose]());

    it('/ says what the agent is, and links to /docs', async () => {
      const { dom, console: said } = await showPage(`${agent.url}/`);
      expect(dom).toMatch(/<h1>SwellSight Edge \d+\.\d+\.\d+/);
      expect(dom).toContain('An edge agent that reads wave heights');
      expect(dom).toContain('href="/docs"');
      expect(said).toEqual([]);
    });

    it('/docs shows every operation of the document, and the browser has nothing against its policy', async () => {
      const { dom, console: said } = await showPage(`${agent.url}/docs`);
      const shown = [...dom.matchAll(/class="opblock opblock-(\w+)[^"]*" id="operations-(\w+)-(\w+)"/g)];
      const wanted = Object.values(openApi().paths).flatMap((methods) =>
        Object.entries(methods).map(([method, { operationId }]) => `${method} ${operationId}`),
      );
      expect(shown.map(([, method, , id]) => `${method} ${id}`).sort()).toEqual(wanted.sort());
      expect(dom).toContain('data-path="/api/v1/analyze"');
      expect(said).toEqual([]);
    });

    it('that policy is kept by this browser: a script within the page, or from elsewhere, does not run', async () => {
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
        const { dom, console: said } = await showPage(`http://127.0.0.1:${port}/`);
        expect(dom).toContain('<p id="at">before</p>');
        expect(said.filter((line) => line.includes('Content Security Policy'))).toHaveLength(2);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    });
  },
);
