import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { LightFleet } from '../../scripts/fleet/light-fleet.ts';
import { freePort } from '../../scripts/ports.ts';
import { systemClock } from '../../src/base/clock.ts';
import { findAxeViolations, hasBrowser, SCREENS, TestBrowser } from '../fixtures/browser.ts';
import { Mosquitto } from '../fixtures/mosquitto.ts';

const ROOT = join(import.meta.dirname, '../..');
const DEVICES = 1000;
const LOGIN = { username: 'ana', password: 'sea' };
const SCRIPT = '<img src=x onerror="document.title=1">';

describe.skipIf(!hasBrowser)('The fleet page in a browser (needs the package chromium)', () => {
  let broker: Mosquitto;
  let fleet: LightFleet;
  let browser: TestBrowser;
  let url: string;
  const stop = new AbortController();
  let running: Promise<void>;
  beforeAll(async () => {
    broker = await Mosquitto.start({ users: { ana: 'sea' }, lines: ['max_queued_messages 0'] });
    fleet = await LightFleet.start(
      {
        url: broker.url,
        login: LOGIN,
        base: 'swellsight/v1',
        devices: DEVICES,
        ownConnections: 3,
        everyS: 30,
        heartbeatS: 10,
      },
      { clock: systemClock, random: Math.random },
    );
    running = fleet.run(stop.signal);
    browser = await TestBrowser.start();
    const server = spawn(
      process.execPath,
      [
        join(ROOT, 'dist/main.js'),
        'fleet',
        'serve',
        '--broker',
        broker.url,
        '--port',
        String(await freePort()),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    stop.signal.addEventListener('abort', () => server.kill());
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    url = /http\S+/.exec(line.toString())![0];
  });
  afterAll(async () => {
    stop.abort();
    await running;
    fleet.close();
    await browser[Symbol.asyncDispose]();
    await broker.stop();
  });

  async function connect(page: Page, { username, password } = LOGIN): Promise<void> {
    await page.getByLabel('User name').fill(username);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Connect' }).click();
  }
  const firstDevice = (page: Page): Promise<string> =>
    page
      .locator('.devices-body [aria-rowindex="2"] .device-name')
      .textContent()
      .then((text) => text ?? '');
  const nameOf = (index: number): string => fleet.devices[index]!.name.replace('/', '');

  it('refuses a wrong password, and lists a thousand devices, the worst first', async () => {
    await using opened = await browser.open(url);
    const { page } = opened;
    expect(await findAxeViolations(page)).toEqual([]);
    await connect(page, { username: 'ana', password: 'wrong' });
    await page.getByText('refused the user name or the password').waitFor();
    await connect(page);
    await page.getByText('1,000 of 1,000 devices').waitFor();
    // Only the rows in sight exist.
    expect(await page.locator('.devices-body [role=row]').count()).toBeLessThan(60);
    fleet.devices[0]!.cut();
    await vi.waitUntil(async () => (await firstDevice(page)) === nameOf(0), { timeout: 60_000 });
    expect(await page.locator('.devices-body [aria-rowindex="2"]').textContent()).toContain('Offline');
    expect(await findAxeViolations(page)).toEqual([]);
    expect(opened.faults).toEqual([]);
  });

  it('works by keyboard: filter, open a device, close it; the view stands in the address', async () => {
    await using opened = await browser.open(url, { colorScheme: 'dark' });
    const { page } = opened;
    await connect(page);
    await page.getByText('1,000 of 1,000 devices').waitFor();
    await page.getByLabel('Search').focus();
    await page.keyboard.type(fleet.devices[5]!.name);
    const row = page.locator('.device-name').first();
    await vi.waitUntil(async () => (await firstDevice(page)) === nameOf(5), { timeout: 60_000 });
    await row.focus();
    await page.keyboard.press('Enter');
    const panel = page.getByRole('complementary', { name: `Device ${fleet.devices[5]!.name}` });
    await panel.getByText('Heartbeat').waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    expect(new URL(page.url()).hash).toContain(`device=${encodeURIComponent(fleet.devices[5]!.name)}`);
    await page.reload();
    await panel.getByText('Heartbeat').waitFor();
    await panel.focus();
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'detached' });
    expect(opened.faults).toEqual([]);
  });

  it('shows the map, and the list on a phone', async () => {
    await using opened = await browser.open(`${url}#/map`, { viewport: SCREENS.phone });
    const { page } = opened;
    await connect(page);
    await page.locator('.mark').nth(3).waitFor();
    await page.locator('path.land').first().waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    await page.getByText('List', { exact: true }).click();
    await page.locator('.device-name').first().click();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.locator('.device-name').first().waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    expect(await findAxeViolations(page)).toEqual([]);
    expect(opened.faults).toEqual([]);
  });

  it('is not harmed by hostile payloads', async () => {
    const publisher = await broker.client(LOGIN);
    await using opened = await browser.open(`${url}#/list?q=hostile`);
    const { page } = opened;
    await connect(page);
    await page.getByText('0 of 1,000 devices').waitFor();
    const health = {
      at: new Date().toISOString(),
      degraded: [SCRIPT],
      cameras: [{ id: SCRIPT }],
      cpu: { temp_c: 1e308 },
    };
    const messages: Record<string, string | Buffer> = {
      'hostile/a/status': JSON.stringify({ state: 'online', session: SCRIPT, at: SCRIPT }),
      'hostile/a/health': JSON.stringify(health),
      'hostile/a/info': JSON.stringify({ hardware: { model: SCRIPT }, cameras: [], agent_version: SCRIPT }),
      'hostile/a/model/state': `{"active": ${'['.repeat(30_000)}`,
      'hostile/b/status': JSON.stringify({ state: SCRIPT }),
      'hostile/c/health': Buffer.alloc(10_000_000, 0x5b),
      'hostile/d/health': '{"__proto__": {"at": 1}, "uptime_s": NaN}',
    };
    for (const [topic, payload] of Object.entries(messages))
      await publisher.publishAsync(`swellsight/v1/${topic}`, payload, { qos: 1 });
    await page.getByRole('link', { name: /hostile.*a/ }).click();
    await page.getByRole('complementary').getByText(SCRIPT).first().waitFor();
    for (let index = 0; index < 10_000; index += 1)
      publisher.publish(
        `swellsight/v1/invented/x${String(index)}/info`,
        JSON.stringify({ hardware: {}, cameras: [] }),
      );
    await page.getByText('More than 5,000 devices').waitFor();
    expect(await page.title()).not.toBe('1');
    expect(await page.locator('img').count()).toBe(0);
    expect(opened.faults).toEqual([]);
  });

  it('says that the connection is lost, keeps what it knew, and continues', async () => {
    await using opened = await browser.open(url);
    const { page } = opened;
    await connect(page);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.locator('.device-name').first().waitFor();
    await broker.down();
    await page.getByText('What you see is from then').waitFor();
    expect(await page.locator('.device-name').count()).toBeGreaterThan(5);
    await broker.up();
    await page.getByText('Live', { exact: true }).waitFor();
  });
});
