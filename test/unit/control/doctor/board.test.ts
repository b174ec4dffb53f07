import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  checkJournal,
  checkMemory,
  checkPower,
  checkRealTimeClock,
  checkStorage,
} from '../../../../src/control/doctor/board.ts';
import type { CheckContext, Finding } from '../../../../src/control/doctor/finding.ts';
import { boardTree, RECORDED_BOARDS } from '../../../fixtures/boards/board-tree.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const context = { settings: { stateDir: '/var/lib/swellsight-test' } } as CheckContext;

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

/** The findings, each as `state check: detail -> remedy`. */
async function findings(
  check: (context: CheckContext, root?: string) => AsyncIterable<Finding>,
  root = tree.path,
): Promise<string[]> {
  const lines: string[] = [];
  for await (const { check: name, state, detail, mend } of check(context, root))
    lines.push(`${state} ${name}: ${detail}${mend === null ? '' : ` -> ${mend}`}`);
  return lines;
}

describe('checkMemory', () => {
  it('gives the remedy for a Raspberry Pi that boots without memory cgroups', async () => {
    const firmware = 'coherent_pool=1M cgroup_disable=memory snd_bcm2835.enable_hdmi=0 root=PARTUUID=1';
    tree.write('proc/cmdline', `${firmware}\n`);
    expect((await findings(checkMemory)).at(-1)).toBe(
      'warn memory limit: the kernel runs with cgroup_disable=memory: MemoryMax= has no effect -> append ' +
        '`cgroup_enable=memory cgroup_memory=1` to the line in /boot/firmware/cmdline.txt and reboot',
    );
    tree.write('proc/cmdline', `${firmware} cgroup_enable=memory cgroup_memory=1\n`);
    expect(await findings(checkMemory)).toEqual([expect.stringMatching(/^ok memory: /)]);
  });

  it('warns of a limit that is too small', async () => {
    tree.write('proc/self/cgroup', '0::/\n');
    tree.write('sys/fs/cgroup/memory.max', `${128 * 2 ** 20}`);
    expect(await findings(checkMemory)).toEqual([
      'warn memory: the agent may use 128 MB -> raise the limit of its service or container to 256 MB',
    ]);
  });
});

describe('checkPower', () => {
  it('finds nothing on a machine without sensors, and a Raspberry Pi 5 in order', async () => {
    expect(await findings(checkPower)).toEqual([]);
    const recorded = RECORDED_BOARDS['pi5'];
    if (recorded === undefined) throw new Error('no recorded Pi 5');
    expect(await findings(checkPower, boardTree(recorded).path)).toEqual([
      'ok power supply: the supply voltage is sufficient',
      'ok heat: the processor has 47.2 °C',
    ]);
  });

  it('names low voltage and heat, each on one line with a remedy', async () => {
    tree.write('sys/devices/platform/soc/soc:firmware/get_throttled', 'd\n');
    tree.write('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n');
    tree.write('sys/class/thermal/thermal_zone0/temp', '85000\n');
    expect(await findings(checkPower)).toEqual([
      'warn heat: the processor has 85 °C -> improve the cooling',
      'warn heat: the board lowers its frequency because of heat -> improve the cooling',
      'warn power supply: the supply voltage is too low -> use the power supply of the board and a short cable',
    ]);
  });
});

describe('checkStorage', () => {
  it('warns of a state directory in memory and of a worn eMMC', async () => {
    tree.write('proc/self/mountinfo', '24 1 0:27 / / rw - tmpfs tmpfs rw\n');
    tree.write('sys/block/mmcblk0/device/type', 'MMC\n');
    tree.write('sys/block/mmcblk0/device/life_time', '0x0a 0x01\n');
    tree.write('sys/block/mmcblk0/device/pre_eol_info', '0x02\n');
    expect(await findings(checkStorage)).toEqual([
      'warn state: /var/lib/swellsight-test is in memory: the next boot loses labels and unsent records -> ' +
        'set stateDir to a directory on a disk partition that is not part of the overlay',
      'warn eMMC: the eMMC has used up to 100% of its life, end-of-life state: warning -> ' +
        'replace the module soon, or move stateDir to another disk',
    ]);
  });

  it.each([
    [0o755, 'open', '755'],
    [0o777, 'change', '777'],
  ])('warns of a state directory that others can use (%i)', async (mode, verb, digits) => {
    tree.write('proc/self/mountinfo', '24 1 8:1 / / rw - ext4 /dev/sda1 rw\n');
    tree.write('state/file', '');
    const stateDir = join(tree.path, 'state');
    const check = (_: CheckContext, root?: string) =>
      checkStorage({ settings: { stateDir } } as CheckContext, root);
    chmodSync(stateDir, mode);
    expect(await findings(check)).toEqual([
      `warn state: other users of this machine can ${verb} ${stateDir} (mode ${digits}) -> run: chmod o= ${stateDir}`,
    ]);
    chmodSync(stateDir, 0o750);
    expect(await findings(check)).toEqual([]);
  });

  it('finds nothing on a disk without wear information', async () => {
    tree.write('proc/self/mountinfo', '24 1 8:1 / / rw - ext4 /dev/sda1 rw\n');
    expect(await findings(checkStorage)).toEqual([]);
  });
});

describe('checkJournal', () => {
  const persistent = ['ok journal: kept across boots'];
  const volatile = [expect.stringMatching(/^warn journal: in memory: .* -> set Storage=persistent/)];

  it('finds nothing without systemd', async () => {
    tree.write('run/systemd/other', '');
    expect(await findings(checkJournal)).toEqual([]);
  });

  it('reads the drop-in with which Raspberry Pi OS keeps the journal in memory', async () => {
    tree.write('run/systemd/system/x', '');
    tree.write('var/log/journal/x', '');
    expect(await findings(checkJournal)).toEqual(persistent);
    const dropIn = '40-rpi-volatile-storage.conf';
    tree.write(`usr/lib/systemd/journald.conf.d/${dropIn}`, '[Journal]\nStorage=volatile\n');
    tree.write('etc/systemd/journald.conf', '[Journal]\n#Storage=auto\nStorage=persistent\n');
    expect(await findings(checkJournal)).toEqual(volatile);
    tree.write('etc/systemd/journald.conf.d/99-persistent.conf', '[Journal]\nStorage=persistent\n');
    expect(await findings(checkJournal)).toEqual(persistent);
    tree.write('etc/systemd/journald.conf.d/99-persistent.conf', '');
    tree.write(`etc/systemd/journald.conf.d/${dropIn}`, '[Journal]\n');
    expect(await findings(checkJournal)).toEqual(persistent);
  });

  it('knows that the directory decides by default', async () => {
    tree.write('run/systemd/system/x', '');
    expect(await findings(checkJournal)).toEqual(volatile);
  });
});

describe('checkRealTimeClock', () => {
  it('says whether the machine has a clock of its own', async () => {
    tree.write('proc/cmdline', '');
    expect(await findings(checkRealTimeClock)).toEqual([
      'ok hardware clock: none: after a power cut, times are right only after synchronisation',
    ]);
    tree.write('sys/class/rtc/rtc0/name', 'rtc-ds1307\n');
    expect(await findings(checkRealTimeClock)).toEqual([
      'ok hardware clock: present; check that it has a battery',
    ]);
  });
});
