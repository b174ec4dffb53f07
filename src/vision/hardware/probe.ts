import { fork } from 'node:child_process';
import { deadlineSignal } from '../../base/deadline.ts';
import { classify, type Hardware, type Inventory } from './hardware.ts';
import { readFacts } from './facts.ts';

/** nvidia-smi on a cold card takes seconds; a start must not wait longer for names alone. */
const INVENTORY_TIMEOUT_MS = 8_000;

/**
 * What can be told of the machine in a millisecond, from a few small files: the kind and all that the provider ladder
 * needs. Names that only programs know are `null`. Never throws.
 */
export function readHardware(): Hardware {
  return classify(readFacts(null));
}

/**
 * Looks at the machine once, at boot. The cheap facts are read here; the rest (names of the CPU, the GPUs and the
 * system) comes from a short-lived child process, and is `null` when that fails or is too slow. Rejects only with the
 * reason of `signal`.
 */
export async function probeHardware(signal: AbortSignal): Promise<Hardware> {
  const inventory = await takeInventory(deadlineSignal(INVENTORY_TIMEOUT_MS, signal));
  signal.throwIfAborted();
  return classify(readFacts(inventory));
}

const entry = new URL(import.meta.url.endsWith('.ts') ? './inventory.ts' : './inventory.js', import.meta.url);

function takeInventory(signal: AbortSignal): Promise<Inventory | null> {
  return new Promise((resolve) => {
    let found: Inventory | null = null;
    const child = fork(entry, {
      execArgv: ['--max-old-space-size=64'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      signal,
      killSignal: 'SIGKILL',
    });
    child.on('message', (message) => {
      found = message as Inventory;
    });
    // Both may come, in either order; the first one settles.
    child.once('error', () => resolve(found));
    child.once('exit', () => resolve(found));
  });
}
