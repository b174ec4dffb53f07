import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CameraView } from '../../src/contract/openapi/views.ts';
import { freePort } from '../ports.ts';
import { fillPastWeek } from './past-week.ts';

const root = join(import.meta.dirname, '..', '..');
const CAMERA = 'north';
/** A busy machine with two cores needs several minutes for the calibration and the first clip. */
const DEADLINE_MS = 900_000;

/** A running agent with a simulated camera that has a calibration, a sea state and a week of records. */
export class PicturedDevice implements AsyncDisposable {
  readonly url: string;
  readonly #dir: string;
  readonly #ports: { readonly http: number; readonly mqtt: number };
  #child: ChildProcess | null = null;

  private constructor(dir: string, ports: { readonly http: number; readonly mqtt: number }) {
    this.#dir = dir;
    this.#ports = ports;
    this.url = `http://127.0.0.1:${String(ports.http)}`;
  }

  static async start(): Promise<PicturedDevice> {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-pictures-'));
    const device = new PicturedDevice(dir, { http: await freePort(), mqtt: await freePort() });
    try {
      await device.#prepare();
    } catch (thrown) {
      await device[Symbol.asyncDispose]();
      throw thrown;
    }
    return device;
  }

  async #prepare(): Promise<void> {
    this.#run({ selfLabel: true });
    await this.#until((view) => view.latest?.wave.height_basis === 'site_calibrated');
    await this.#stop();
    fillPastWeek(join(this.#dir, 'var', 'swellsight.db'), CAMERA, Date.now());
    this.#run({ selfLabel: false });
    await this.#until(
      ({ latest, sea_state }) => latest?.wave.height_m != null && sea_state?.period.peak_s != null,
    );
  }

  #run(simulation: { readonly selfLabel: boolean }): void {
    const config = join(this.#dir, 'config.json');
    const camera = {
      id: CAMERA,
      kind: 'simulated',
      schedule: { everyS: 4 },
      burst: { frames: 3, intervalS: 0.5 },
      location: { lat: 38.96, lon: -9.42 },
      seaState: { schedule: { everyS: 600 }, durationS: 256 },
      simulation,
    };
    writeFileSync(
      config,
      JSON.stringify({
        site: 'ericeira',
        device: 'pole-1',
        stateDir: join(this.#dir, 'var'),
        http: { port: this.#ports.http },
        mqtt: { embedded: { port: this.#ports.mqtt } },
        inference: { providers: ['cpu'], threads: 1 },
        cameras: [camera],
      }),
    );
    this.#child = spawn(process.execPath, [join(root, 'bin/swellsight.mjs'), 'run', '--config', config], {
      stdio: 'ignore',
    });
  }

  async #stop(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  /** Resolves when the camera is in a state; throws when it takes too long. */
  async #until(isReached: (camera: CameraView) => boolean): Promise<void> {
    const deadlineMs = performance.now() + DEADLINE_MS;
    while (performance.now() < deadlineMs) {
      const response = await fetch(`${this.url}/api/v1/cameras`).catch(() => null);
      const list =
        response?.ok === true
          ? ((await response.json()) as { readonly cameras: readonly CameraView[] })
          : null;
      const camera = list?.cameras.find(({ id }) => id === CAMERA);
      if (camera && isReached(camera)) return;
      await delay(500);
    }
    throw new Error('the device did not reach the state for the pictures in time');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }
}
