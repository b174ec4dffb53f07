// Pictures of all views of the pages for the guides: npm run screenshots -- [--out DIR] [--only device-now,fleet-map]
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { SCREENS, TestBrowser } from '../../test/fixtures/browser.ts';
import { PicturedDevice } from './device.ts';
import { FLEET_VIEWS, PicturedFleet, showFleet } from './fleet.ts';

/** The views of the device page: their address, and what is on the screen when they are complete. */
const DEVICE_VIEWS: Readonly<Record<string, { readonly hash: string; readonly complete: string }>> = {
  'device-now': { hash: '#/now', complete: 'figure img' },
  'device-history': { hash: '#/history?days=7', complete: 'canvas' },
  'device-cameras': { hash: '#/setup', complete: '.camera img' },
  'device-drawing': { hash: '#/setup?edit=north', complete: '.board img' },
  'device-agent': { hash: '#/agent', complete: 'main h2' },
};
const THEMES = ['light', 'dark'] as const;
/** Time for images and charts after the first element is there. */
const SETTLE_MS = 2500;
const QUALITY = 88;

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(import.meta.dirname, '..', '..', 'docs', 'images') },
    only: { type: 'string' },
  },
});
const wanted = values.only?.split(',') ?? [...Object.keys(DEVICE_VIEWS), ...Object.keys(FLEET_VIEWS)];
const wantsFleet = wanted.some((view) => Object.hasOwn(FLEET_VIEWS, view));
const wantsDevice = wanted.some((view) => Object.hasOwn(DEVICE_VIEWS, view));
mkdirSync(values.out, { recursive: true });

await using browser = await TestBrowser.start();
if (wantsDevice) await takeDevicePictures();
if (wantsFleet) await takeFleetPictures();

async function takeDevicePictures(): Promise<void> {
  await using device = await PicturedDevice.start();
  for (const [view, { hash, complete }] of Object.entries(DEVICE_VIEWS))
    if (wanted.includes(view))
      await takePictures(view, `${device.url}/${hash}`, async (page) => {
        await page.waitForSelector(complete);
        await page.waitForTimeout(SETTLE_MS);
      });
}

async function takeFleetPictures(): Promise<void> {
  await using fleet = await PicturedFleet.start();
  for (const [view, { hash, open }] of Object.entries(FLEET_VIEWS))
    if (wanted.includes(view))
      await takePictures(view, `${fleet.url}${hash}`, (page) => showFleet(page, open === true));
}

/** A picture for each size of screen and theme. */
async function takePictures(name: string, url: string, show: (page: Page) => Promise<void>): Promise<void> {
  for (const screen of ['phone', 'desktop'] as const)
    for (const theme of THEMES) {
      await using opened = await browser.open(url, {
        viewport: SCREENS[screen],
        deviceScaleFactor: screen === 'phone' ? 2 : 1,
        colorScheme: theme,
      });
      await show(opened.page);
      const path = join(values.out, `${name}-${screen}-${theme}.webp`);
      await sharp(await opened.page.screenshot())
        .webp({ quality: QUALITY })
        .toFile(path);
      process.stderr.write(`${path}\n`);
      if (opened.faults.length > 0) throw new Error(`the console has faults: ${opened.faults.join('; ')}`);
    }
}
