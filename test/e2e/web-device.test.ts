import type { Locator } from 'playwright-core';
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

  it('shows the history, which new observations extend; readings can be removed and restored', async () => {
    await using opened = await browser.open(`${agent.url}/#/history`, { viewport: SCREENS.phone });
    const { page } = opened;
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('heading', { name: 'History' }).waitFor();

    // The table has the same data for screen readers, also before everybody sees it.
    const newest = page.getByRole('region', { name: 'History of cam' }).locator('tbody tr').first();
    const count = async (): Promise<string> =>
      `${await newest.locator('th').innerText()} ${await newest.locator('td').last().innerText()}`;
    const before = await count();
    await vi.waitUntil(async () => (await count()) !== before, { timeout: 60_000 });

    const time = page.getByRole('slider', { name: 'Time in the charts' });
    await time.focus();
    const atEnd = await time.getAttribute('aria-valuetext');
    await page.keyboard.press('Home');
    // A new device: there were no observations until a moment ago.
    expect(await time.getAttribute('aria-valuetext')).toMatch(/No observations/);
    expect(atEnd).not.toMatch(/No observations/);

    // The simulated camera labels its own observations.
    const remove = page.getByRole('button', { name: /^Remove the reading/ }).first();
    await remove.waitFor({ timeout: 60_000 });
    const name = (await remove.getAttribute('aria-label')) ?? '';
    await remove.focus();
    await page.keyboard.press('Enter');
    const undo = page.getByRole('button', { name: name.replace('Remove', 'Undo: restore') });
    await undo.waitFor();
    expect(await page.locator(':focus').innerText()).toBe('Undo');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name, exact: true }).waitFor();

    // Each label of a newest observation keeps its frame. The frames of a day are read when it is chosen.
    const day = page.getByRole('combobox', { name: 'Day' });
    const play = page.getByRole('button', { name: 'Play' });
    const choose = async (value: string, shown: Locator): Promise<void> => {
      await day.selectOption(value);
      await shown.waitFor({ timeout: 30_000 });
    };
    const isPlayable = async (): Promise<boolean> => {
      await choose('1', page.getByText('No frame of this day is kept'));
      await choose('0', page.getByRole('img', { name: /^Frame of cam at/ }));
      return play.isVisible();
    };
    await vi.waitUntil(isPlayable, { timeout: 90_000, interval: 2000 });
    const scrub = page.getByRole('slider', { name: 'Time of the frame' });
    await scrub.focus();
    await page.keyboard.press('Home');
    expect(await scrub.inputValue()).toBe('0');
    await play.click();
    const last = (await scrub.getAttribute('max')) ?? '';
    await vi.waitUntil(async () => (await scrub.inputValue()) === last, { timeout: 60_000 });
    await play.waitFor();

    await page.getByRole('button', { name: 'Show as a table' }).click();
    expect(await findAxeViolations(page)).toEqual([]);
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download CSV' }).click();
    expect((await download).suggestedFilename()).toBe('cam.csv');
    expect(opened.faults.filter((fault) => !fault.includes('401'))).toEqual([]);
  });
});
