import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readUsableMemoryMb } from '../../base/free-memory.ts';
import { readNames, readText } from '../../base/read-file.ts';
import { okFinding, warnFinding, type CheckContext, type Finding } from './finding.ts';

/** What the agent and a vision process with the shipped model need, MiB. */
const MIN_MEMORY_MB = 256;
const LIFE_WARNING_PCT = 80;

/** Memory that the agent may use, and whether the kernel can limit it. `root` differs from `/` only in tests. */
export async function* checkMemory(_context: CheckContext, root = '/'): AsyncGenerator<Finding> {
  const memoryMb = readUsableMemoryMb(root);
  yield memoryMb < MIN_MEMORY_MB
    ? warnFinding(
        'memory',
        `the agent may use ${String(memoryMb)} MB`,
        `raise the limit of its service or container to ${String(MIN_MEMORY_MB)} MB`,
      )
    : okFinding('memory', `the agent may use ${String(memoryMb)} MB`);
  if (await isMemoryCgroupDisabled(root))
    yield warnFinding(
      'memory limit',
      'the kernel runs with cgroup_disable=memory: MemoryMax= has no effect',
      'append `cgroup_enable=memory cgroup_memory=1` to the line in /boot/firmware/cmdline.txt and reboot',
    );
}

/** The firmware of a Raspberry Pi adds `cgroup_disable=memory`; `cgroup_enable=memory` in cmdline.txt takes precedence. */
async function isMemoryCgroupDisabled(root: string): Promise<boolean> {
  const options = ((await readText(join(root, 'proc/cmdline'))) ?? '').split(/\s+/);
  const names = (option: string): boolean =>
    options.some(
      (one) =>
        one.startsWith(`${option}=`) &&
        one
          .slice(option.length + 1)
          .split(',')
          .includes('memory'),
    );
  return names('cgroup_disable') && !names('cgroup_enable');
}

/** Heat and power supply at this moment. */
export async function* checkPower(_context: CheckContext, root = '/'): AsyncGenerator<Finding> {
  const { readPowerSignals } = await import('../../health/board/power-signals.ts');
  const { readTemperature } = await import('../../health/machine.ts');
  const [signals, temperature] = await Promise.all([readPowerSignals(root), readTemperature(root)]);
  if (temperature && temperature.tempC >= temperature.hotC)
    yield warnFinding('heat', `the processor has ${String(temperature.tempC)} °C`, 'improve the cooling');
  if (signals.hotSurface === true)
    yield warnFinding('heat', 'the case of the board is too hot to touch', 'improve the cooling');
  if (signals.tooHot === true)
    yield warnFinding('heat', 'the board lowers its frequency because of heat', 'improve the cooling');
  if (signals.underVoltage === true)
    yield warnFinding(
      'power supply',
      'the supply voltage is too low',
      'use the power supply of the board and a short cable',
    );
  if ((signals.overCurrentEvents ?? 0) > 0)
    yield warnFinding(
      'power supply',
      `${String(signals.overCurrentEvents)} over-current events since the machine booted`,
      'use a stronger power supply, or a lower nvpmodel power mode',
    );
  if (signals.underVoltage === false) yield okFinding('power supply', 'the supply voltage is sufficient');
  if (temperature && temperature.tempC < temperature.hotC)
    yield okFinding('heat', `the processor has ${String(temperature.tempC)} °C`);
}

/** Whether the state survives a boot, and the wear of an eMMC. */
export async function* checkStorage({ settings }: CheckContext, root = '/'): AsyncGenerator<Finding> {
  const { findVolatility } = await import('../../health/state-volume.ts');
  const { stateDir } = settings;
  const volatility = await findVolatility(stateDir, root);
  if (volatility === 'memory')
    yield warnFinding(
      'state',
      `${stateDir} is in memory: the next boot loses labels and unsent records`,
      'set stateDir to a directory on a disk partition that is not part of the overlay',
    );
  if (volatility === 'layer')
    yield warnFinding(
      'state',
      `${stateDir} is in the writable layer of the container: it is lost with the container`,
      'mount a volume there',
    );
  const mode = (await stat(stateDir).catch(() => null))?.mode ?? 0;
  if ((mode & 0o007) !== 0)
    yield warnFinding(
      'state',
      `other users of this machine can ${(mode & 0o002) === 0 ? 'open' : 'change'} ${stateDir} (mode ${(mode & 0o777).toString(8)})`,
      `run: chmod o= ${stateDir}`,
    );
  const { readEmmcWear } = await import('../../health/board/emmc-wear.ts');
  const { lifeUsedPct, preEol } = await readEmmcWear(root);
  if (lifeUsedPct === null && preEol === null) return;
  const isWorn = (lifeUsedPct ?? 0) > LIFE_WARNING_PCT || preEol === 'warning' || preEol === 'urgent';
  const detail = `the eMMC has used up to ${String(lifeUsedPct ?? '?')}% of its life, end-of-life state: ${preEol ?? 'unknown'}`;
  yield isWorn
    ? warnFinding('eMMC', detail, 'replace the module soon, or move stateDir to another disk')
    : okFinding('eMMC', detail);
}

/** Whether the journal of systemd survives a boot. */
export async function* checkJournal(_context: CheckContext, root = '/'): AsyncGenerator<Finding> {
  if (!existsSync(join(root, 'run/systemd/system'))) return;
  const storage = await journalStorage(root);
  const isPersistent = storage === 'persistent' || existsSync(join(root, 'var/log/journal'));
  if (isPersistent && storage !== 'volatile' && storage !== 'none')
    yield okFinding('journal', 'kept across boots');
  else
    yield warnFinding(
      'journal',
      'in memory: log lines from before a crash or a power cut are lost',
      'set Storage=persistent in /etc/systemd/journald.conf.d/99-persistent.conf if the card may take the writes',
    );
}

/** `Storage=` of journald.conf(5): the last drop-in by name counts; a file in /etc replaces one of the same name in /usr/lib. */
async function journalStorage(root: string): Promise<string | null> {
  const files = new Map<string, string>();
  for (const directory of ['usr/lib', 'usr/local/lib', 'run', 'etc']) {
    const dropIns = join(root, directory, 'systemd/journald.conf.d');
    for (const name of await readNames(dropIns)) files.set(name, join(dropIns, name));
  }
  const ordered = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  let storage: string | null = null;
  for (const path of [join(root, 'etc/systemd/journald.conf'), ...ordered]) {
    const text = await readFile(path, 'utf8').catch(() => '');
    storage = [...text.matchAll(/^\s*Storage\s*=\s*(\w+)/gm)].at(-1)?.[1] ?? storage;
  }
  return storage;
}

/** A machine without a clock of its own has a wrong time until the network sets it. */
export async function* checkRealTimeClock(_context: CheckContext, root = '/'): AsyncGenerator<Finding> {
  if (!existsSync(join(root, 'proc'))) return;
  const clocks = (await readNames(join(root, 'sys/class/rtc'))).length;
  yield clocks > 0
    ? okFinding('hardware clock', 'present; check that it has a battery')
    : okFinding('hardware clock', 'none: after a power cut, times are right only after synchronisation');
}
