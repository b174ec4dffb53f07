// The updater as its own process on a directory tree, without systemd. It asks its parent for what systemd does. The time
// since boot runs faster, so that a trial takes seconds.
import { readFileSync } from 'node:fs';
import { NOBODY, runLimited } from '../../test/fixtures/updater/limited.ts';
import type { UpdaterPaths } from '../../src/updater/paths.ts';
import { thisMachine } from '../../src/updater/platform.ts';
import { Updater } from '../../src/updater/updater.ts';

/** What the parent is asked to do. */
export type ControlCall = 'restart' | 'startTrialTimer' | 'stopTrialTimer';

export interface UpdaterJob {
  readonly paths: UpdaterPaths;
  readonly bootId: string;
  /** Seconds since boot for each real second. */
  readonly speed: number;
  /** `performance.timeOrigin` of the boot, ms since 1970. */
  readonly bootedAtMs: number;
}

const call = (name: ControlCall) => (): Promise<void> =>
  new Promise((resolve, reject) =>
    process.send?.(name, undefined, {}, (error) => (error ? reject(error) : resolve())),
  );

async function main(job: UpdaterJob): Promise<void> {
  process.umask(0o022);
  const updater = new Updater(
    { paths: job.paths, updaterVersion: '1.0.0' },
    {
      control: {
        restart: call('restart'),
        startTrialTimer: call('startTrialTimer'),
        stopTrialTimer: call('stopTrialTimer'),
        stopLimited: () => Promise.resolve(),
        owner: () => Promise.resolve(NOBODY),
        runLimited,
      },
      machine: {
        ...thisMachine,
        bootId: () => Promise.resolve(job.bootId),
        uptimeS: () => Promise.resolve(((Date.now() - job.bootedAtMs) / 1000) * job.speed),
        syncedNowMs: () => Promise.resolve(Date.now()),
      },
      log: (message, fields) => void process.stdout.write(`${message} ${JSON.stringify(fields ?? {})}\n`),
    },
  );
  await updater.run(AbortSignal.timeout(60_000));
}

if (process.argv[2] !== undefined) {
  try {
    await main(JSON.parse(readFileSync(process.argv[2], 'utf8')) as UpdaterJob);
  } catch (error) {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  }
  process.disconnect();
}
