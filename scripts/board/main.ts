// npm run check:board [-- --machine [--pages 4|16]] [--archive FILE]: runs the arm64 archive of `npm run package` under
// emulation, and prints what ran: single programs on the kernel of this machine, or with --machine whole machines with
// kernels of their own. Needs root, and the packages of the group `board` in scripts/setup.mjs. See docs/install.md.
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from '../package/build.ts';
import type { BoardCheck } from './board-check.ts';
import { checkInMachine } from './machine-checks.ts';
import { PAGE_SIZES_KIB } from './machine-parts.ts';
import { checkUnderUserEmulation } from './short-checks.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
/** Printed at the end, so that nobody takes the result for more than it is. */
const NOT_SHOWN = [
  'speed, heat and power of a board: the emulator is many times slower',
  'firmware, boot loader, device tree and kernel of a board',
  'real cameras, GPUs, SD cards, and the memory that a board gives its GPU',
];
const NOT_SHOWN_BY_PROGRAMS =
  'pages of 16 KiB, systemd, memory limits, a power cut: --machine checks these with kernels of Debian';

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const { values } = parseArgs({
  options: { machine: { type: 'boolean' }, pages: { type: 'string' }, archive: { type: 'string' } },
});
const pageSizesKib = PAGE_SIZES_KIB.filter((kib) => values.pages === undefined || values.pages === `${kib}`);
if (pageSizesKib.length === 0 || (values.pages !== undefined && values.machine !== true)) {
  console.error(`check:board: --pages is one of ${PAGE_SIZES_KIB.join(', ')}, and belongs to --machine`);
  process.exit(2);
}
if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.error('npm run check:board needs Linux and root');
  process.exit(2);
}

let failed = 0;
async function run(title: string, checks: Iterable<BoardCheck> | AsyncIterable<BoardCheck>): Promise<void> {
  const startedMs = performance.now();
  const report = ({ name, isPassed, detail }: BoardCheck): void => {
    print(`${isPassed ? 'ok  ' : 'FAIL'} ${name}: ${detail}`);
    if (!isPassed) failed += 1;
  };
  print(title);
  try {
    for await (const check of checks) report(check);
  } catch (error) {
    report({ name: 'ran to its end', isPassed: false, detail: String(error) });
  }
  print(`     ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
}

const archive =
  values.archive ??
  (
    await buildPackage({
      checkout: CHECKOUT,
      arch: 'arm64',
      out: join(CHECKOUT, 'dist-package'),
      cache: join(CHECKOUT, '.cache', 'package'),
    })
  ).archive;
const name = relative(process.cwd(), archive);

if (values.machine === true) {
  const cache = join(CHECKOUT, '.cache', 'board');
  for (const pageKib of pageSizesKib)
    await run(
      `${name} in an emulated machine with pages of ${pageKib} KiB`,
      checkInMachine(archive, cache, pageKib),
    );
} else {
  const title = `${name} under qemu-user, with the /proc/cpuinfo of a Raspberry Pi 4`;
  await run(title, checkUnderUserEmulation(archive));
}

print('emulation does not show:');
for (const line of values.machine === true ? NOT_SHOWN : [...NOT_SHOWN, NOT_SHOWN_BY_PROGRAMS])
  print(`     ${line}`);
process.exit(failed === 0 ? 0 : 1);
