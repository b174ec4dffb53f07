// Stores records, deletes messages from the outbox, and prints each step, until a signal or a disk error ends it.
// Arguments: state directory, and FULL (the setting of the store), NORMAL or OFF.
// Lines: `stored CAMERA SEQ ID` after the commit returned; `acked ID` before the message is deleted.
import { writeSync } from 'node:fs';
import Database from 'better-sqlite3';
import { systemClock } from '../../../src/base/clock.ts';
import { acknowledge, burstFeatures, draft, openStore } from '../../../test/fixtures/store.ts';

const [, , stateDir = '', synchronous = 'FULL'] = process.argv;
const MEAN_INTERVAL_MS = 2;

// A control: the real store with this one setting changed.
if (synchronous !== 'FULL') {
  const pragma = Reflect.get(Database.prototype, 'pragma') as (...args: unknown[]) => unknown;
  Database.prototype.pragma = function (
    this: Database.Database,
    source: string,
    ...rest: unknown[]
  ): unknown {
    const weaker = source.startsWith('synchronous') ? `synchronous = ${synchronous}` : source;
    return pragma.call(this, weaker, ...rest);
  };
}

/** Writes synchronously. Retries while the pipe is full, because the reader may be busy with its disks. */
function printLine(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

const store = openStore(stateDir, systemClock, { outbox: { maxMessages: 1_000_000, maxAgeDays: 7 } });
for (let n = 0; ; n += 1) {
  const record = store.append(draft({ camera: n % 2 === 0 ? 'north' : 'south' }), burstFeatures([n, 1, 2]));
  printLine(`stored ${record.camera} ${record.seq} ${record.id}`);
  if (n % 3 === 2) {
    const entries = store.outbox.next(2, new Set());
    for (const { payload } of entries) printLine(`acked ${(JSON.parse(payload) as { id: string }).id}`);
    acknowledge(store.outbox, entries, Date.now());
  }
  await systemClock.sleep(Math.random() * 2 * MEAN_INTERVAL_MS);
}
