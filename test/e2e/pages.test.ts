import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { hasBrowser, SCREENS, TestBrowser } from '../fixtures/browser.ts';
import { openApi } from '../fixtures/openapi.ts';

describe.skipIf(!hasBrowser)('Pages of a running agent in a browser (needs the package chromium)', () => {
  let agent: RunningAgent;
  let browser: TestBrowser;
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
    // A first record that arrives while a page loads moves its layout.
    await agent.observation();
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  it('loads the device page with less than 90 kB, few requests and a still layout', async () => {
    await using opened = await browser.open('about:blank', { viewport: SCREENS.phone });
    const { page, faults } = opened;
    const sizes: Promise<number>[] = [];
    let requests = 0;
    page.on('requestfinished', (request) => {
      requests += 1;
      if (!new URL(request.url()).pathname.startsWith('/api/'))
        sizes.push(request.sizes().then(({ responseBodySize }) => responseBodySize));
    });
    await page.goto(agent.url);
    await page.getByRole('img', { name: /Newest frame of cam/ }).waitFor();
    await page.waitForLoadState('load');
    const shift = await page.evaluate<number>(`new Promise((resolve) => {
      let sum = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) sum += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
      setTimeout(() => resolve(sum), 500);
    })`);
    const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeGreaterThan(5000);
    expect(bytes).toBeLessThan(90_000);
    expect(requests).toBeLessThan(25);
    // 0.1 is the limit of "good" for layout shift (web.dev/cls).
    expect(shift).toBeLessThan(0.1);
    expect(faults).toEqual([]);
  });

  it('shows every operation on /docs without a violation of its content security policy', async () => {
    await using opened = await browser.open(`${agent.url}/docs`);
    await opened.page.waitForSelector('[data-path="/api/v1/analyze"]');
    const dom = await opened.page.content();
    const shown = [...dom.matchAll(/class="opblock opblock-(\w+)[^"]*" id="operations-(\w+)-(\w+)"/g)];
    const expected = Object.values(openApi().paths).flatMap((methods) =>
      Object.entries(methods).map(([method, { operationId }]) => `${method} ${operationId}`),
    );
    expect(shown.map(([, method, , id]) => `${method} ${id}`).sort()).toEqual(expected.sort());
    expect(opened.faults).toEqual([]);
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
      await using opened = await browser.open(`http://127.0.0.1:${port}/`);
      expect(await opened.page.textContent('#at')).toBe('before');
      await vi.waitUntil(
        () => opened.faults.filter((line) => line.includes('Content Security Policy')).length >= 2,
        { timeout: 60_000 },
      );
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
