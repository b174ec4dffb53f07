import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { findAxeViolations, hasBrowser, SCREENS, TestBrowser } from '../fixtures/browser.ts';

const TOKEN = 'token-of-the-test';

describe.skipIf(!hasBrowser)('The device page in a browser (needs the package chromium)', () => {
  let agent: RunningAgent;
  let browser: TestBrowser;
  beforeAll(async () => {
    agent = await RunningAgent.start(
      {
        mqtt: { embedded: { port: 0 } },
        cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS: 2 }, burst: { frames: 1 } }],
      },
      { env: { SWELLSIGHT_HTTP_TOKEN: TOKEN } },
    );
    await vi.waitUntil(() => fetch(`${agent.url}/live`).catch(() => null), { timeout: 60_000 });
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  it('asks for the token, then shows each new frame without a reload', async () => {
    await using opened = await browser.open(`${agent.url}/`, { viewport: SCREENS.phone });
    const { page } = opened;
    await page.getByLabel('Token').fill('wrong');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByText('refused this token').waitFor();
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Open' }).click();

    const frame = page.getByRole('img', { name: /Newest frame of cam/ });
    await frame.waitFor();
    const first = await frame.getAttribute('src');
    await vi.waitUntil(async () => (await frame.getAttribute('src')) !== first, { timeout: 60_000 });
    await page.getByText('Simulated').first().waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    // The browser itself reports the refused requests, and nothing else.
    expect(opened.faults.filter((fault) => !fault.includes('401'))).toEqual([]);
  });
});
