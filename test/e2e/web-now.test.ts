import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LabelRecord } from '../../src/contract/openapi/views.ts';
import type { Observation } from '../../src/contract/observation.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { findAxeViolations, hasBrowser, SCREENS, TestBrowser, type OpenPage } from '../fixtures/browser.ts';

const TOKEN = 'token-of-the-test';
const FIRST_VIEW_BYTES = 90_000;
/** Runs in the page: the sum of its layout shifts, and the compressed bytes of its own files. */
const MEASURE = `(async () => {
  const shifts = await new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries())).observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => resolve([]), 500);
  });
  const files = ['resource', 'navigation']
    .flatMap((type) => performance.getEntriesByType(type))
    .filter(({ name }) => !name.includes('/api/') && !name.startsWith('blob:'));
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  return [sum(shifts.map(({ value }) => value)), sum(files.map(({ encodedBodySize }) => encodedBodySize))];
})()`;

describe.skipIf(!hasBrowser)('The view Now in a browser (needs the package chromium)', () => {
  let agent: RunningAgent;
  let browser: TestBrowser;
  beforeAll(async () => {
    // No slot of the schedule comes during the tests: they capture frames when they want some.
    const schedule = { everyS: 86_400 };
    agent = await RunningAgent.start(
      {
        mqtt: { embedded: { port: 0 } },
        cameras: [
          { id: 'cam', kind: 'simulated', schedule, burst: { frames: 1 }, simulation: { selfLabel: false } },
          { id: 'gone', kind: 'http', url: 'http://127.0.0.1:9/frame.jpg', schedule, burst: { frames: 1 } },
        ],
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

  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const response = await fetch(
      `${agent.url}/api/v1/cameras/${path}`,
      body
        ? { method, headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) }
        : { method, headers },
    );
    if (!response.ok) throw new Error(`${path}: ${String(response.status)} ${await response.text()}`);
    return (await response.json()) as T;
  };
  const capture = (camera = 'cam'): Promise<Observation> => ask('POST', `${camera}/capture`);
  const readLabels = async (): Promise<readonly LabelRecord[]> =>
    (await ask<{ labels: LabelRecord[] }>('GET', 'cam/labels')).labels;
  const isShown = (page: Page, { captured_at }: Observation) =>
    page.locator(`.frame time[datetime="${captured_at}"]`).waitFor();

  async function open(options: Parameters<TestBrowser['open']>[1] = {}, path = ''): Promise<OpenPage> {
    const opened = await browser.open(`${agent.url}/`, options);
    await opened.page.evaluate((token) => sessionStorage.setItem('swellsight.token', token), TOKEN);
    await opened.page.goto(`${agent.url}/${path}`);
    await opened.page.reload();
    return opened;
  }
  /** The browser itself reports refused requests. */
  const faultsOf = ({ faults }: OpenPage) => faults.filter((fault) => !fault.includes('401'));

  it('shows each new frame without a reload, and asks for a first reading', async () => {
    const first = await capture();
    await using opened = await open({ viewport: SCREENS.phone });
    const { page } = opened;
    await page.getByRole('img', { name: /Newest frame of cam/ }).waitFor();
    await isShown(page, first);
    await page.getByText('Nobody has read this camera yet').waitFor();
    await page.getByText('Simulated').first().waitFor();
    await isShown(page, await capture());
    expect(await findAxeViolations(page)).toEqual([]);
    expect(faultsOf(opened)).toEqual([]);
  });

  it('labels the shown frame with one tap, and undoes it', async () => {
    const shown = await capture();
    await using opened = await open({ viewport: SCREENS.phone });
    const { page } = opened;
    await isShown(page, shown);
    const card = page.getByRole('region', { name: 'I see' });
    await card.getByRole('button', { name: '1.2', exact: true }).click();
    await card.getByText(/^Saved: 1.2.m for the frame of/).waitFor();
    expect(await readLabels()).toMatchObject([
      { observation_id: shown.id, height_m: 1.2, height: 1.2, unit: 'm', scale: 'face', observer: null },
    ]);
    await card.getByText('1 of 8 visits').waitFor();

    await card.getByRole('button', { name: 'Undo' }).click();
    await card.getByText(/^Undone: 1.2/).waitFor();
    expect(await readLabels()).toEqual([]);

    await page.getByText('ft', { exact: true }).click();
    await card.getByText('Hawaiian', { exact: true }).click();
    await card.getByRole('button', { name: 'More' }).click();
    await card.getByLabel('Your name').fill('Ana');
    await card.getByLabel('Exact height, ft').fill('90');
    await page.keyboard.press('Enter');
    await card.getByText('Type a height').waitFor();
    // The frame does not change while a person types, and the reading belongs to it.
    await page.getByText('Held while you read it').waitFor();
    const later = await capture();
    await card.getByLabel('Exact height, ft').fill('2,5');
    await page.keyboard.press('Enter');
    await card.getByText(/^Saved: 2.5.ft Hawaiian/).waitFor();
    expect(await readLabels()).toMatchObject([
      {
        observation_id: shown.id,
        height_m: 1.524,
        height: 2.5,
        unit: 'ft',
        scale: 'hawaiian',
        observer: 'Ana',
      },
    ]);
    await card.getByRole('button', { name: 'Fewer' }).click();
    await isShown(page, later);
    expect(faultsOf(opened)).toEqual([]);
  });

  it('keeps a reading until the agent answers, and never hides that of somebody else', async () => {
    const shown = await capture();
    await using opened = await open({ viewport: SCREENS.desktop });
    const { page } = opened;
    await isShown(page, shown);
    await ask('POST', 'cam/labels', { observation_id: shown.id, height_m: 0.7, observer: 'Ben' });
    const card = page.getByRole('region', { name: 'I see' });
    await page.context().setOffline(true);
    await card.getByRole('button', { name: 'More' }).click();
    await card.getByRole('button', { name: '0.9', exact: true }).click();
    await card.getByText('The agent does not answer').waitFor();
    await page.context().setOffline(false);
    await card.getByText(/^Saved: 0.9/).waitFor();
    await card.getByText(/It replaces 0.7.m by Ben/).waitFor();
    await card.getByRole('button', { name: 'Undo' }).click();
    await card.getByText(/^Undone/).waitFor();
    const labels = await readLabels();
    expect(labels.find(({ observation_id: id }) => id === shown.id)).toMatchObject({
      ...{ height_m: 0.7, observer: 'Ben' },
    });

    // In the list each reading can be removed, and the removal undone.
    await card.getByRole('button', { name: /^Readings/ }).click();
    const list = page.getByRole('dialog', { name: 'Readings' });
    await list.getByRole('button', { name: /^Remove 0.7/ }).click();
    await list.getByText(/^Removed: 0.7/).waitFor();
    expect(await readLabels()).toHaveLength(labels.length - 1);
    await list.getByRole('button', { name: 'Undo' }).click();
    await list.getByRole('button', { name: /^Remove 0.7/ }).waitFor();
    expect(await readLabels()).toHaveLength(labels.length);
    expect(await findAxeViolations(page)).toEqual([]);
  });

  it('offers kept frames one after the other, by keyboard', async () => {
    await using opened = await open({ viewport: SCREENS.tablet, colorScheme: 'dark' });
    const { page } = opened;
    const before = await readLabels();
    await page.getByRole('button', { name: 'Read older frames' }).press('Enter');
    const queue = page.getByRole('dialog', { name: 'Read older frames' });
    await queue.getByRole('img', { name: /Frame of/ }).waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await queue.getByText(/^Saved: 1.1/).waitFor();
    expect(await readLabels()).toHaveLength(before.length + 1);
    await page.keyboard.press('z');
    await queue.getByText(/^Undone: 1.1/).waitFor();
    expect(await readLabels()).toHaveLength(before.length);
    await page.keyboard.press('Escape');
    await queue.waitFor({ state: 'detached' });
    expect(faultsOf(opened)).toEqual([]);
  });

  it('says why a camera gives nothing', async () => {
    await capture('gone');
    await using opened = await open({ viewport: SCREENS.phone }, '#/now?camera=gone');
    const { page } = opened;
    await page.getByText(/^Since .*the camera does not answer\.$/).waitFor();
    await page.getByText('No frame yet').waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    expect(faultsOf(opened)).toEqual([]);
    await page.getByRole('navigation', { name: 'Camera' }).getByRole('link', { name: /^cam/ }).click();
    await page.getByRole('img', { name: /Newest frame of cam/ }).waitFor();
  });

  it('fits in a phone with large text and in forced colours, small and without jumps', async () => {
    await capture();
    const options = { viewport: SCREENS.phone, forcedColors: 'active', reducedMotion: 'reduce' } as const;
    await using opened = await open(options);
    const { page } = opened;
    await page.getByRole('img', { name: /Newest frame of cam/ }).waitFor();
    await page.getByRole('region', { name: 'Sea' }).waitFor();
    const [shift, bytes] = await page.evaluate<[number, number]>(MEASURE);
    expect(shift).toBeLessThan(0.1);
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThan(FIRST_VIEW_BYTES);
    await page.evaluate(`document.documentElement.style.fontSize = '200%'`);
    expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBe(SCREENS.phone.width);
    expect(await findAxeViolations(page)).toEqual([]);
  });

  it('says that the clocks differ, and turns grey with an age when no data come', async () => {
    await using opened = await open();
    const { page } = opened;
    await page.clock.install({ time: Date.now() - 3_600_000 });
    await page.reload();
    await page.getByText(/clock of the device and that of this browser differ by 60.min/).waitFor();
    const shown = await capture();
    await isShown(page, shown);
    // Ages follow the clock of the device.
    expect(await page.locator('.frame time').innerText()).toMatch(/^\d+\u00a0s ago$/);

    agent.signal('SIGKILL');
    await agent.exited;
    await page.clock.fastForward('05:00');
    await page.getByText(/The agent has sent nothing for \d+.min/).waitFor();
    await page.getByText(/^No data for \d+.min$/).waitFor();
    expect(await page.evaluate<string>(`getComputedStyle(document.querySelector('.now')).filter`)).toBe(
      'grayscale(1)',
    );
    await page.getByRole('img', { name: /Newest frame of cam/ }).waitFor();
  });
});
