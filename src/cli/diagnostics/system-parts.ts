import { readFileSync } from 'node:fs';
import { networkInterfaces, release, tmpdir, uptime, version, type NetworkInterfaceInfo } from 'node:os';
import { readText } from '../../base/read-file.ts';
import type { Settings } from '../../config/schema.ts';
import { DiskProbe } from '../../health/disk.ts';
import { INSTALLATION_DIR, readAgentVersion } from '../installation.ts';
import type { Part } from './archive.ts';
import type { RunTool } from './program-output.ts';

const UNITS = ['swellsight.service', 'swellsight-update.service', 'swellsight-trial.timer'];
const UNIT_KEYS = [
  ...['Id', 'LoadState', 'ActiveState', 'SubState', 'UnitFileState', 'Result', 'NRestarts', 'StatusText'],
  ...['ExecMainCode', 'ExecMainStatus', 'ExecMainStartTimestamp', 'ExecMainExitTimestamp'],
  ...['ActiveEnterTimestamp', 'MemoryCurrent', 'MemoryPeak', 'MemoryMax', 'TasksCurrent', 'CPUUsageNSec'],
  ...['FragmentPath', 'DropInPaths', 'WatchdogUSec'],
];
/** Lines of the kernel about memory, power supply, heat, cards, file systems and USB cameras. */
const KERNEL_TOPIC =
  /memory|oom|killed process|volt|throttl|thermal|over-?current|mmc|i\/o error|ext4|nvme|read-only|uvc|usb .*(error|disconnect)/i;

/** What the system says about itself; nothing here needs the agent. */
export function systemParts(settings: Settings | null, run: RunTool): readonly Part[] {
  return [
    { file: 'versions.json', read: async () => readVersions(run) },
    { file: 'unit.txt', read: () => run('systemctl', 'show', ...UNITS, `--property=${UNIT_KEYS.join(',')}`) },
    { file: 'kernel.txt', read: async () => readKernelLines(run) },
    { file: 'disks.json', read: async () => readDisks(settings) },
    { file: 'network.json', read: () => readAddresses() },
    { file: 'memory.txt', read: () => readFileSync('/proc/meminfo', 'utf8') },
  ];
}

async function readVersions(run: RunTool): Promise<unknown> {
  const firstLine = async (program: string, ...args: readonly string[]): Promise<string | null> =>
    run(program, ...args).then(
      (output) => output.split('\n', 1)[0] ?? null,
      () => null,
    );
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return {
    agent: readAgentVersion(),
    installation: INSTALLATION_DIR,
    runtime: process.versions,
    platform: `${process.platform}-${process.arch}`,
    glibc: report.header?.glibcVersionRuntime ?? null,
    kernel: `${release()} ${version()}`,
    kernel_options: await readText('/proc/cmdline'),
    os: await readText('/etc/os-release'),
    ffmpeg: await firstLine('ffmpeg', '-version'),
    systemd: await firstLine('systemctl', '--version'),
    uptime_s: Math.round(uptime()),
  };
}

async function readKernelLines(run: RunTool): Promise<string> {
  // Ordinary users may read the messages of the kernel from the journal when dmesg is restricted.
  const output = await run('dmesg').catch(async (denied: unknown) =>
    run('journalctl', '--dmesg', '--boot', '--no-pager', '--output=short-monotonic').catch(() => {
      throw denied;
    }),
  );
  return output
    .split('\n')
    .filter((line) => KERNEL_TOPIC.test(line))
    .join('\n');
}

async function readDisks(settings: Settings | null): Promise<unknown> {
  const dirs = [...new Set(['/', settings?.stateDir ?? '/var/lib/swellsight', tmpdir()])];
  const space = await Promise.all(
    dirs.map(async (dir) => {
      const { freeMb, usedPct } = await new DiskProbe({ dir }).read();
      return { dir, free_mb: freeMb, used_pct: usedPct };
    }),
  );
  const mounts = ((await readText('/proc/self/mounts')) ?? '').split('\n').map((line) => {
    const [source = '', path = '', type = '', options = ''] = line.split(' ');
    // The other options may hold user names of network disks.
    return { source, path, type, read_only: options.split(',').includes('ro') };
  });
  return { space, mounts };
}

/** Without hardware addresses, which identify a device for ever. */
function readAddresses(): unknown {
  const interfaces: Partial<Record<string, NetworkInterfaceInfo[]>> = networkInterfaces();
  return Object.fromEntries(
    Object.entries(interfaces).map(([name, addresses = []]) => [
      name,
      addresses.map(({ family, cidr, address, internal }) => ({
        family,
        address: cidr ?? address,
        internal,
      })),
    ]),
  );
}
