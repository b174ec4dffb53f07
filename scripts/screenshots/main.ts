// Pictures of all views of the pages for the guides: npm run screenshots -- [--out DIR] [--only now,history]
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { SCREENS, TestBrowser } from '../../test/fixtures/browser.ts';
import { PicturedDevice } from './device.ts';

/** The views of the device page, and what is on the screen when a view is complete. */
const DEVICE_VIEWS: Readonly<Record<string, string>> = {
  now: 'figure img',
  setup: '.camera img',
  'setup?edit=north': '.board img',
};
const THEMES = ['light', 'dark'] as const;
/** Time for images and charts after the first element is there. */
const SETTLE_MS = 1500;
const QUALITY = 88;

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(import.meta.dirname, '..', '..', 'docs', 'images') },
    only: { type: 'string' },
  },
});
const views = values.only?.split(',') ?? Object.keys(DEVICE_VIEWS);
mkdirSync(values.out, { recursive: true });

await using device = await PicturedDevice.start();
await using browser = await TestBrowser.start();
for (const view of views)
  for (const screen of ['phone', 'desktop'] as const)
    for (const theme of THEMES) {
      await using opened = await browser.open(`${device.url}/#/${view}`, {
        viewport: SCREENS[screen],
        deviceScaleFactor: screen === 'phone' ? 2 : 1,
        colorScheme: theme,
      });
      await opened.page.waitForSelector(DEVICE_VIEWS[view] ?? 'main');
      await opened.page.waitForTimeout(SETTLE_MS);
      const path = join(values.out, `device-${view.replaceAll(/\W+/g, '-')}-${screen}-${theme}.webp`);
      await sharp(await opened.page.screenshot())
        .webp({ quality: QUALITY })
        .toFile(path);
      process.stderr.write(`${path}\n`);
      if (opened.faults.length > 0) throw new Error(`the console has faults: ${opened.faults.join('; ')}`);
    }
