import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { findAxeViolations, hasBrowser, SCREENS, TestBrowser, type OpenPage } from '../fixtures/browser.ts';
import { createRepository } from '../fixtures/repository.ts';
import { WebServer } from '../fixtures/web-server.ts';

const FACTORY = 'swellsight-factory 1.0.0';
/** Nothing listens there. */
const DEAD_CAMERA = 'http://127.0.0.1:9/frame.jpg';
/** Runs in the page. */
const RECORD_STEPS = `
  globalThis.seenSteps = new Set();
  new MutationObserver(() => {
    const step = document.querySelector('.steps [aria-current="step"] .name')?.textContent;
    if (step) seenSteps.add(step);
  }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
`;

describe.skipIf(!hasBrowser)('The view of the agent in a browser (needs the package chromium)', () => {
  let home: string;
  let web: WebServer;
  let agent: RunningAgent;
  let browser: TestBrowser;
  let opened: OpenPage;
  let page: Page;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'swellsight-web-agent-'));
    const repository = await createRepository(home, ['heads', 'wrong-golden']);
    web = await WebServer.start(repository.dir);
    agent = await RunningAgent.start({
      mqtt: { embedded: { port: 0 } },
      heartbeat: { intervalS: 5 },
      cameras: [
        { id: 'sea', kind: 'simulated', schedule: { everyS: 2 }, burst: { frames: 1 } },
        { id: 'pier', kind: 'http', url: DEAD_CAMERA, schedule: { everyS: 2 }, burst: { frames: 1 } },
      ],
      model: {
        repository: web.url,
        trustRoot: repository.rootFile,
        probation: { observations: 2, minutes: 0 },
      },
    });
    await agent.observation((line) => line['status'] === 'measured', 120_000);
    browser = await TestBrowser.start();
    opened = await browser.open(`${agent.url}/#/agent`);
    page = opened.page;
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
    await web.stop();
    await rm(home, { recursive: true, force: true });
  });

  const part = (name: string): Promise<void> => page.getByRole('link', { name, exact: true }).click();
  /** Asks for an install with the keyboard alone. */
  const install = async (name: string, version: string): Promise<void> => {
    await page.getByRole('button', { name: 'Install a model' }).focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Install a model' });
    await dialog.getByText('the present one returns by itself').waitFor();
    await dialog.getByLabel('Name').fill(name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(version);
    await page.keyboard.press('Enter');
    await page.getByText(`The install of ${name} ${version} has started.`).waitFor();
  };
  const inUse = (name: string) => page.locator('.slot.active').getByText(name);

  it('says what is wrong with the device and what to do about it', async () => {
    const problem = page.getByRole('listitem').filter({ hasText: 'Camera pier delivers no frames' });
    await problem.first().waitFor({ timeout: 60_000 });
    expect(await problem.first().innerText()).toMatch(
      /Fault[^]*The camera reports: [^]*What to do: Check the power and the network[^]*camera_down:pier/,
    );
    const cameras = page.locator('.vital').filter({ hasText: '1 of 2 cameras delivers frames' });
    await cameras.waitFor({ timeout: 60_000 });
    expect(await cameras.innerText()).toContain('Fault');
    await page.getByText(/Holds \d+ messages?/).waitFor();

    await page.getByRole('button', { name: 'Examine the device' }).click();
    await page.getByText('Examined at').waitFor({ timeout: 60_000 });
    await page.getByRole('heading', { name: 'Camera pier', exact: true }).waitFor();

    const downloaded = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the report' }).click();
    const file = await (await downloaded).path();
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      schema: 'swellsight.diagnostics/1',
      health: { degraded: expect.arrayContaining(['camera_down:pier']) as unknown },
    });
  });

  it('installs a signed model with its progress, and returns to the former one', async () => {
    await part('Model');
    await inUse(FACTORY).waitFor();
    await page.evaluate(RECORD_STEPS);
    await install('heads', '1.0.0');
    await page.getByRole('heading', { name: 'Last install: heads 1.0.0' }).waitFor({ timeout: 120_000 });
    await inUse('heads 1.0.0').waitFor();
    const seen = await page.evaluate('[...seenSteps]');
    expect(seen).toEqual(expect.arrayContaining(['Comparison', 'Trial']));
    await page.getByText(/Compared on \d+ frame/).waitFor();

    await page.getByRole('button', { name: `Return to ${FACTORY}` }).click();
    const dialog = page.getByRole('dialog', { name: 'Return to the previous model?' });
    await dialog.getByText('No frame is lost').waitFor();
    await dialog.getByRole('button', { name: `Return to ${FACTORY}` }).click();
    await page.getByText(`${FACTORY} is in use now.`).waitFor({ timeout: 60_000 });
    await inUse(FACTORY).waitFor();
  });

  it('says why a model was refused, and refuses it until a person wants it in spite of it', async () => {
    await install('wrong-golden', '1.0.0');
    await page
      .getByRole('heading', { name: 'Last install: wrong-golden 1.0.0' })
      .waitFor({ timeout: 60_000 });
    await page.getByText('What to do: Use another provider or another version').first().waitFor();
    await page.getByRole('button', { name: 'Install anyway' }).waitFor();
    await page.getByRole('button', { name: 'Install a model' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Version').fill('1');
    await dialog.getByRole('button', { name: 'Install', exact: true }).click();
    await dialog.getByText('A version has three numbers').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  it('lists live and stored events by severity, and the log', async () => {
    await part('Events');
    const list = page.locator('.events');
    await list.getByText('heads 1.0.0 is installed').waitFor();
    await page.getByRole('radio', { name: 'Errors' }).check();
    await list.getByText('heads 1.0.0 is installed').waitFor({ state: 'detached' });
    expect(await list.locator('li').filter({ hasNotText: 'Error' }).count()).toBe(0);
    await list.getByText('model_golden_mismatch').first().waitFor();

    await page.getByRole('button', { name: 'Show the log' }).click();
    const log = page.getByRole('region', { name: /Lines of the log/ });
    await log.getByText('install failed').first().waitFor();
    await page.getByRole('searchbox').fill('no such words');
    await log.getByText('install failed').first().waitFor({ state: 'detached' });
  });

  it('has no fault that axe finds, on a phone and a desktop, in light and dark', async () => {
    for (const [size, colorScheme] of [
      ['phone', 'light'],
      ['desktop', 'dark'],
    ] as const) {
      await page.setViewportSize(SCREENS[size]);
      await page.emulateMedia({ colorScheme });
      for (const name of ['Health', 'Model', 'Software', 'Events']) {
        await part(name);
        await page.locator('.agent .card').first().waitFor();
        expect(await findAxeViolations(page), `${name} on ${size}`).toEqual([]);
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(
          0,
        );
      }
    }
    expect(opened.faults).toEqual([]);
  });
});
