import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { systemClock } from '../../src/base/clock.ts';
import { Pages } from '../../src/fleet/page-server/pages.ts';
import { servePages, TUNNEL_PATH } from '../../src/fleet/page-server/server.ts';
import { Mosquitto } from '../../test/fixtures/mosquitto.ts';
import { LightFleet } from '../fleet/light-fleet.ts';

const root = join(import.meta.dirname, '..', '..');
const DEVICES = 1000;
const BASE = 'swellsight/v1';
/** The page has judged all devices after this time; some are silent only then. */
const SETTLE_MS = 8_000;

/** A fleet of simulated devices, its broker, and the server of its page. */
export class PicturedFleet implements AsyncDisposable {
  readonly url: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(url: string, stack: AsyncDisposableStack) {
    this.url = url;
    this.#stack = stack;
  }

  static async start(): Promise<PicturedFleet> {
    await using stack = new AsyncDisposableStack();
    const broker = stack.adopt(await Mosquitto.start({ lines: ['max_queued_messages 0'] }), (one) =>
      one.stop(),
    );
    const options = {
      url: broker.url,
      base: BASE,
      devices: DEVICES,
      ownConnections: 0,
      everyS: 60,
      heartbeatS: 30,
    };
    const fleet = await LightFleet.start(options, { clock: systemClock, random: Math.random });
    const stop = new AbortController();
    stack.defer(() => {
      stop.abort();
      fleet.close();
    });
    void fleet.run(stop.signal);
    const pages = Pages.read(join(root, 'dist', 'web'), {
      broker: 'mqtts://broker.example.org',
      path: TUNNEL_PATH,
      base: BASE,
      tags: { 'nazare/*': ['big waves'] },
    });
    const server = await servePages(pages, {
      host: '127.0.0.1',
      port: 0,
      allowedHosts: [],
      broker: { host: '127.0.0.1', port: broker.port, tls: null },
    });
    stack.defer(() => server.close());
    return new PicturedFleet(server.url, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]();
  }
}

/** What to do with the connected page before its picture is taken. */
export const FLEET_VIEWS: Readonly<Record<string, { readonly hash: string; readonly open?: true }>> = {
  'fleet-list': { hash: '#/list' },
  'fleet-device': { hash: '#/list?show=camera_fault,degraded', open: true },
  'fleet-map': { hash: '#/map' },
};

/** Connects the page, and shows the view. */
export async function showFleet(page: Page, isOpen: boolean): Promise<void> {
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.locator('.device-name, .mark').first().waitFor();
  await page.waitForTimeout(SETTLE_MS);
  if (isOpen) await page.locator('.device-name').nth(1).click();
}
