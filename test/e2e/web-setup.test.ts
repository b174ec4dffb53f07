import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { findAxeViolations, hasBrowser, SCREENS, TestBrowser } from '../fixtures/browser.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';

interface ShownCamera {
  readonly id: string;
  readonly privacyMasks: readonly (readonly (readonly number[])[])[];
}

/** Moves a finger from the middle of an element to the right, through the touch events of the browser. */
async function dragWithFinger(page: Page, from: Locator, byPx: number): Promise<void> {
  await from.scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await from.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  const session = await page.context().newCDPSession(page);
  const touch = (type: 'touchStart' | 'touchMove', dx: number) =>
    session.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: [{ x: x + width / 2 + dx, y: y + height / 2 }],
    });
  await touch('touchStart', 0);
  for (const share of [0.25, 0.5, 0.75, 1]) await touch('touchMove', byPx * share);
  await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
}

/** The view for cameras, in a real browser and against a real agent: add, test, draw, keep, automatic undo, remove. */
describe.skipIf(!hasBrowser)('The cameras of the device page (needs the package chromium)', () => {
  let sea: TestServer;
  let agent: RunningAgent;
  let browser: TestBrowser;
  beforeAll(async () => {
    sea = await seaCamera();
    agent = await RunningAgent.start({
      mqtt: { embedded: { port: 0 } },
      cameras: [snapshotsOf('north', sea, 5)],
    });
    await agent.observation();
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
    await sea.stop();
  });

  const camerasInForce = async (): Promise<readonly ShownCamera[]> =>
    ((await agent.json('/api/v1/config'))['settings'] as { cameras: ShownCamera[] }).cameras;
  const masksOf = async (camera: string) =>
    (await camerasInForce()).find(({ id }) => id === camera)?.privacyMasks.length;
  /** The page gives two minutes; the test does not wait that long. */
  const shortenTrials = async (page: Page, seconds: number): Promise<void> => {
    await page.route('**/api/v1/config', async (route) => {
      const sent = route.request();
      const body = { ...(sent.postDataJSON() as object | null), confirm_within_s: seconds };
      await route.continue(sent.method() === 'PATCH' ? { postData: JSON.stringify(body) } : {});
    });
  };

  it('adds a camera after a failed and a good test, and keeps it', async () => {
    const text = await httpServer((_request, response) => response.end('this is no image'));
    await using opened = await browser.open(`${agent.url}/#/setup`);
    const { page } = opened;
    await page.getByRole('link', { name: 'Add a camera' }).click();
    await page.getByRole('button', { name: 'Add on trial' }).click();
    await page.getByText('This field is empty').first().waitFor();
    await page.getByLabel('Name', { exact: true }).fill('pier');
    await page.getByLabel('Kind of camera').selectOption('http');
    await page.getByLabel('Address').fill(`${text.url}/1.jpg`);
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('What to do:').waitFor();
    await page.getByLabel('Address').fill(`${sea.url}/pier.jpg`);
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('The camera works').waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Add on trial' }).click();
    await page.getByRole('timer').waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Keep' }).click();
    await page.getByText('The change is kept').waitFor();
    await page.getByRole('link', { name: 'Edit pier' }).waitFor();
    expect((await camerasInForce()).map(({ id }) => id)).toEqual(['north', 'pier']);
    expect(opened.faults).toEqual([]);
    await text.stop();
  });

  it('draws a mask with the mouse and the keyboard, and shows that an unkept change was undone', async () => {
    await using opened = await browser.open(`${agent.url}/#/setup?edit=north`);
    const { page } = opened;
    await shortenTrials(page, 6);
    const board = page.getByRole('img', { name: /with the drawn shapes/ });
    const box = (await board.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
    const at = (x: number, y: number) => [box.x + x * box.width, box.y + y * box.height] as const;
    await page.mouse.move(...at(0.2, 0.2));
    await page.mouse.down();
    await page.mouse.move(...at(0.3, 0.3));
    await page.mouse.move(...at(0.4, 0.4));
    await page.mouse.up();
    const corner = page.getByRole('button', { name: /^Mask 1, corner 3 of 4: 40 % .* 40 %/ });
    await corner.focus();
    await page.keyboard.press('Shift+ArrowRight');
    await page.getByRole('button', { name: /^Mask 1, corner 3 of 4: 45 %/ }).waitFor();
    await page.keyboard.press('+');
    await page.keyboard.press('Delete');
    await page.keyboard.press('Control+z');
    await page.getByRole('button', { name: /Undo the last/ }).click();
    await page.getByRole('button', { name: 'Mask 1', exact: true }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Save on trial' }).click();
    await page.getByRole('timer').waitFor();
    expect(await masksOf('north')).toBe(1);
    await page.getByText('undone by itself, because nobody kept it').waitFor({ timeout: 60_000 });
    expect(await masksOf('north')).toBe(0);
    expect(opened.faults).toEqual([]);
  });

  it('works on a phone: draws with a finger, undoes on request, and removes a camera', async () => {
    await using opened = await browser.open(`${agent.url}/#/setup?edit=pier`, {
      viewport: SCREENS.phone,
      hasTouch: true,
      colorScheme: 'dark',
    });
    const { page } = opened;
    await page.getByRole('button', { name: 'Add a mask' }).tap();
    await page.getByRole('button', { name: /^Mask 1, corner 4 of 4/ }).waitFor();
    await dragWithFinger(page, page.locator('[data-point="2"]'), 40);
    await page.getByRole('button', { name: /^Mask 1, corner 3 of 4: 5[0-9] % / }).waitFor();
    expect(await findAxeViolations(page)).toEqual([]);
    // Also with text of twice the size, nothing is wider than the screen.
    for (const size of ['200%', '100%']) {
      await page.evaluate(`document.documentElement.style.fontSize = '${size}'`);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    }
    await page.getByRole('button', { name: 'Save on trial' }).tap();
    await page.getByRole('button', { name: 'Undo now' }).tap();
    await page.getByText('Undone. The former settings apply again').waitFor();
    expect(await masksOf('pier')).toBe(0);
    await page.getByRole('button', { name: 'Remove pier' }).tap();
    await page.getByRole('button', { name: 'Remove the camera' }).tap();
    await page.getByRole('button', { name: 'Keep' }).tap();
    await page.getByText('The change is kept').waitFor();
    expect((await camerasInForce()).map(({ id }) => id)).toEqual(['north']);
    expect(opened.faults).toEqual([]);
  });
});
