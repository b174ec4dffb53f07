import { createHash } from 'node:crypto';
import { findAccelerators, hasNvidia } from './accelerators.ts';
import { UNKNOWN_BOARD, type BoardDetails } from './board.ts';
import { cpuinfoField, type HardwareFacts } from './facts.ts';
import { findJetson } from './jetson.ts';
import { findRaspberryPi } from './raspberry-pi.ts';

export const HARDWARE_KINDS = [
  'jetson',
  'raspberry_pi',
  'nvidia_x86',
  'nvidia_arm64',
  'apple',
  'windows',
  'cpu',
] as const;
export type HardwareKind = (typeof HARDWARE_KINDS)[number];

/** The machine, for the selection of the provider and for the commands `info` and `doctor`. */
export interface Hardware {
  readonly kind: HardwareKind;
  readonly board: BoardDetails;
  /** Node's name: arm64, x64, arm, … */
  readonly arch: string;
  /** Name of the board or computer. */
  readonly model: string | null;
  readonly cpu: string | null;
  /** CPUs that this process may use, after affinity and cgroup quota. */
  readonly cores: number;
  /** Memory that this process may use, MiB: the smaller of the machine's and its cgroups'. */
  readonly memoryMb: number;
  /** Page size of the kernel; null if unknown. */
  readonly pageSizeBytes: number | null;
  /** Devices that could compute in addition to the CPU, as `family: name`, even if onnxruntime does not support them. */
  readonly accelerators: readonly string[];
  readonly os: string | null;
  /**
   * Part of the key of a stored plan: changes if the CPU, an accelerator or the version of Jetson Linux changes. It does not
   * depend on the inventory process, because a slow or failed inventory must not look like another machine.
   */
  readonly fingerprint: string;
}

/**
 * Names of ARM cores by `CPU implementer` and `CPU part`.
 * Source: Linux arch/arm64/include/asm/cputype.h.
 */
const ARM_CORES: Readonly<Record<string, string>> = {
  '0x41:0xb76': 'ARM1176',
  '0x41:0xc07': 'Cortex-A7',
  '0x41:0xd03': 'Cortex-A53',
  '0x41:0xd04': 'Cortex-A35',
  '0x41:0xd05': 'Cortex-A55',
  '0x41:0xd07': 'Cortex-A57',
  '0x41:0xd08': 'Cortex-A72',
  '0x41:0xd09': 'Cortex-A73',
  '0x41:0xd0a': 'Cortex-A75',
  '0x41:0xd0b': 'Cortex-A76',
  '0x41:0xd0c': 'Neoverse-N1',
  '0x41:0xd41': 'Cortex-A78',
  '0x41:0xd42': 'Cortex-A78AE',
  '0x41:0xd4f': 'Neoverse-V2',
  '0x41:0xd83': 'Neoverse-V3AE',
  '0x4e:0x003': 'Denver 2',
  '0x4e:0x004': 'Carmel',
};

type Description = Omit<Hardware, 'fingerprint'>;

/** Derives the hardware from facts. A pure function: tests use the recorded facts of real boards. */
export function classifyHardware(facts: HardwareFacts): Hardware {
  const fingerprint = fingerprintOf(describeHardware({ ...facts, inventory: null }));
  return { ...describeHardware(facts), fingerprint };
}

function describeHardware(facts: HardwareFacts): Description {
  const { kind, name, board, tegraGpu } = findBoard(facts);
  return {
    kind,
    board,
    arch: facts.arch,
    model: modelOf(facts) ?? name ?? facts.inventory?.model ?? null,
    cpu:
      armCores(facts.cpuinfo) ??
      cpuinfoField(facts.cpuinfo, 'model name') ??
      facts.inventory?.cpu ??
      (facts.cpuBrand.trim() || null),
    cores: facts.cores,
    memoryMb: facts.memoryMb,
    pageSizeBytes: facts.pageSizeBytes,
    accelerators: findAccelerators(facts, tegraGpu),
    os: facts.inventory?.os ?? null,
  };
}

function fingerprintOf({ kind, board, arch, model, cpu, cores, accelerators }: Description): string {
  const identity = JSON.stringify([kind, board.l4t, arch, model, cpu, cores, [...accelerators].sort()]);
  return createHash('sha256').update(identity).digest('hex').slice(0, 16);
}

interface FoundBoard {
  readonly kind: HardwareKind;
  readonly name: string | null;
  readonly board: BoardDetails;
  readonly tegraGpu: string | null;
}

function findBoard(facts: HardwareFacts): FoundBoard {
  const unknown = { name: null, board: UNKNOWN_BOARD, tegraGpu: null };
  if (facts.platform === 'darwin') return { ...unknown, kind: 'apple' };
  if (facts.platform === 'win32') return { ...unknown, kind: 'windows' };
  const jetson = findJetson(facts);
  if (jetson) {
    const { name, gpu, ...board } = jetson;
    return { kind: 'jetson', name, board, tegraGpu: gpu };
  }
  const pi = findRaspberryPi(facts);
  if (pi) return { ...unknown, kind: 'raspberry_pi', name: pi.name, board: { ...UNKNOWN_BOARD, id: pi.id } };
  const board = rockchipBoard(facts) ?? UNKNOWN_BOARD;
  if (facts.arch === 'x64' && hasNvidia(facts)) return { ...unknown, kind: 'nvidia_x86' };
  if (facts.arch === 'arm64' && hasNvidia(facts)) return { ...unknown, board, kind: 'nvidia_arm64' };
  return { ...unknown, board, kind: 'cpu' };
}

/** The chip of a Rockchip board stands last in the compatible list. Its NPU has no execution provider, so its kind is `cpu`. */
function rockchipBoard({ deviceTreeCompatible }: HardwareFacts): BoardDetails | null {
  const chip = deviceTreeCompatible.findLast((name) => name.startsWith('rockchip,rk'));
  if (chip === undefined) return null;
  const soc = chip.slice('rockchip,'.length);
  return { ...UNKNOWN_BOARD, id: `rockchip_${soc}`, soc };
}

const modelOf = (facts: HardwareFacts): string | null =>
  facts.deviceTreeModel ?? facts.soc.machine ?? cpuinfoField(facts.cpuinfo, 'Model');

/** For example `4x Cortex-A76` or `4x Cortex-A55 + 4x Cortex-A76`; null if the text is not from an ARM kernel. */
function armCores(cpuinfo: string): string | null {
  const counts = new Map<string, number>();
  let implementer = '';
  for (const line of cpuinfo.split('\n')) {
    const [field = '', value = ''] = line.split(':').map((part) => part.trim());
    if (field === 'CPU implementer') implementer = value;
    if (field !== 'CPU part') continue;
    const name = ARM_CORES[`${implementer}:${value}`] ?? `ARM ${implementer}/${value}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return null;
  return [...counts].map(([name, count]) => `${count}x ${name}`).join(' + ');
}
