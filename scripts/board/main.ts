// npm run check:board [-- --archive FILE]: runs the arm64 archive of `npm run package` under emulation, and prints what
// ran. Needs root, and the packages of the group `board` in scripts/setup.mjs.
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from '../package/build.ts';
import { checkUnderUserEmulation } from './short-checks.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
/** Printed at the end, so that nobody takes the result for more than it is. */
const NOT_SHOWN = [
  'speed, heat and power of a board: the emulator is many times slower',
  'firmware, boot loader, device tree and kernel of a board',
  'real cameras, GPUs, SD cards, and the memory that a board gives its GPU',
  'kernel with pages of 16 KiB, systemd and memory limits: this runs single programs on the kernel of this machine',
];

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const { values } = parseArgs({ options: { archive: { type: 'string' } } });
if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.error('npm run check:board needs Linux and root');
  process.exit(2);
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

const startedMs = performance.now();
let failed = 0;
print(`${relative(process.cwd(), archive)} under qemu-user, with the /proc/cpuinfo of a Raspberry Pi 4`);
for (const { name, isPassed, detail } of checkUnderUserEmulation(archive)) {
  print(`${isPassed ? 'ok  ' : 'FAIL'} ${name}: ${detail}`);
  if (!isPassed) failed += 1;
}
print(`     ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
print('emulation does not show:');
for (const line of NOT_SHOWN) print(`     ${line}`);
process.exit(failed === 0 ? 0 : 1);
