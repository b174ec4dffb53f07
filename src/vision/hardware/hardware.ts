import { createHash } from 'node:crypto';

export const HARDWARE_KINDS = ['jetson', 'raspberry_pi', 'nvidia_x86', 'apple', 'windows', 'cpu'] as const;
export type HardwareKind = (typeof HARDWARE_KINDS)[number];

/** The machine, for the selection of the provider and for the commands `info` and `doctor`. */
export interface Hardware {
  readonly kind: HardwareKind;
  /** Node's name: arm64, x64, arm, … */
  readonly arch: string;
  /** Name of the board or computer. */
  readonly model: string | null;
  readonly cpu: string | null;
  /** CPUs that this process may use, after affinity and cgroup quota. */
  readonly cores: number;
  /** Memory that this process may use, MiB: the smaller of the machine's and the cgroup's. */
  readonly memoryMb: number;
  /** Devices that could compute in addition to the CPU, as `family: name`, even if onnxruntime does not support them. */
  readonly accelerators: readonly string[];
  readonly os: string | null;
  /**
   * Part of the key of a stored plan: changes if the CPU or an accelerator changes. It does not depend on the inventory
   * process, because a slow or failed inventory must not look like another machine.
   */
  readonly fingerprint: string;
}

/** Facts read from the machine; `null` or empty if a fact could not be read. */
export interface HardwareFacts {
  readonly platform: string;
  readonly arch: string;
  /** Output of `uname -r`. Even a container that hides all other facts shows it. */
  readonly kernel: string;
  readonly cores: number;
  readonly memoryMb: number;
  /** /proc/device-tree/model */
  readonly deviceTreeModel: string | null;
  /** /proc/device-tree/compatible, split at its NULs. */
  readonly deviceTreeCompatible: readonly string[];
  /** First line of /etc/nv_tegra_release. */
  readonly tegraRelease: string | null;
  /** /sys/devices/soc0/family and /machine, as Tegra kernels fill them. */
  readonly soc: { readonly family: string | null; readonly machine: string | null };
  /** /proc/cpuinfo */
  readonly cpuinfo: string;
  /** Node's name for the first CPU; empty on ARM. */
  readonly cpuBrand: string;
  /** `Model:` of each /proc/driver/nvidia/gpus/…/information. */
  readonly nvidiaGpus: readonly string[];
  /** PCI vendor ids of display and 3D controllers, for example 0x10de (NVIDIA). */
  readonly displayVendors: readonly string[];
  /** Accelerator devices below /dev: nvidia0, nvhost-gpu, dri/renderD128, apex_0, hailo0. */
  readonly devices: readonly string[];
  /** Result of the inventory process; `null` if it failed or was too slow. */
  readonly inventory: Inventory | null;
}

/** Names that cannot be read from files; only other programs (lspci, nvidia-smi) find them. */
export interface Inventory {
  readonly cpu: string | null;
  readonly model: string | null;
  readonly os: string | null;
  readonly gpus: readonly string[];
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
  '0x41:0xd41': 'Cortex-A78',
  '0x41:0xd42': 'Cortex-A78AE',
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
  const kind = kindOf(facts);
  return {
    kind,
    arch: facts.arch,
    model: modelOf(facts),
    cpu:
      armCores(facts.cpuinfo) ??
      cpuinfoField(facts.cpuinfo, 'model name') ??
      facts.inventory?.cpu ??
      (facts.cpuBrand.trim() || null),
    cores: facts.cores,
    memoryMb: facts.memoryMb,
    accelerators: acceleratorsOf(facts, kind),
    os: facts.inventory?.os ?? null,
  };
}

function fingerprintOf({ kind, arch, model, cpu, cores, accelerators }: Description): string {
  const identity = JSON.stringify([kind, arch, model, cpu, cores, [...accelerators].sort()]);
  return createHash('sha256').update(identity).digest('hex').slice(0, 16);
}

function kindOf(facts: HardwareFacts): HardwareKind {
  if (facts.platform === 'darwin') return 'apple';
  if (facts.platform === 'win32') return 'windows';
  if (isJetson(facts)) return 'jetson';
  if (isRaspberryPi(facts)) return 'raspberry_pi';
  if (facts.arch === 'x64' && hasNvidia(facts)) return 'nvidia_x86';
  return 'cpu';
}

/** One sign is enough: containers hide the device tree, and minimal images lack the release file. */
function isJetson(facts: HardwareFacts): boolean {
  return (
    facts.tegraRelease !== null ||
    /\bjetson\b/i.test(facts.deviceTreeModel ?? '') ||
    facts.deviceTreeCompatible.some((name) => /^nvidia,tegra\d/.test(name)) ||
    facts.soc.family?.toLowerCase() === 'tegra' ||
    facts.kernel.endsWith('-tegra')
  );
}

function isRaspberryPi(facts: HardwareFacts): boolean {
  return (
    /^raspberry pi\b/i.test(facts.deviceTreeModel ?? '') ||
    facts.deviceTreeCompatible.some((name) => name.startsWith('raspberrypi,')) ||
    /^raspberry pi\b/i.test(cpuinfoField(facts.cpuinfo, 'Model') ?? '') ||
    /[+-]rpi-|\+rpt-rpi|-rpi\d?$/.test(facts.kernel)
  );
}

function hasNvidia(facts: HardwareFacts): boolean {
  return (
    facts.nvidiaGpus.length > 0 ||
    facts.displayVendors.includes('0x10de') ||
    facts.devices.includes('nvidia0') ||
    (facts.inventory?.gpus.some((gpu) => /nvidia/i.test(gpu)) ?? false)
  );
}

function modelOf(facts: HardwareFacts): string | null {
  return (
    facts.deviceTreeModel ??
    facts.soc.machine ??
    cpuinfoField(facts.cpuinfo, 'Model') ??
    facts.inventory?.model ??
    null
  );
}

function acceleratorsOf(facts: HardwareFacts, kind: HardwareKind): readonly string[] {
  const found = new Set<string>();
  if (kind === 'jetson') found.add(`nvidia: ${tegraGpu(facts)}`);
  for (const gpu of facts.nvidiaGpus) found.add(`nvidia: ${gpu}`);
  for (const gpu of facts.inventory?.gpus ?? []) {
    if (/nvidia/i.test(gpu) && facts.nvidiaGpus.length > 0) continue;
    found.add(`${/nvidia/i.test(gpu) ? 'nvidia' : 'gpu'}: ${gpu}`);
  }
  const named = found.size > 0;
  if (!named && hasNvidia(facts)) found.add('nvidia: unnamed');
  else if (!named && facts.devices.some((name) => name.startsWith('dri/renderD'))) found.add('gpu: unnamed');
  if (facts.devices.some((name) => name.startsWith('hailo'))) found.add('hailo: NPU');
  if (facts.devices.some((name) => name.startsWith('apex'))) found.add('coral: Edge TPU');
  return [...found];
}

/** GPU of a Jetson, from the SoC in the device tree's list. Source: NVIDIA, Jetson module data sheets. */
function tegraGpu(facts: HardwareFacts): string {
  const soc = facts.deviceTreeCompatible
    .find((name) => /^nvidia,tegra\d/.test(name))
    ?.slice('nvidia,'.length);
  const family: Readonly<Record<string, string>> = {
    tegra210: 'Maxwell (Tegra X1)',
    tegra186: 'Pascal (Tegra X2)',
    tegra194: 'Volta (Xavier)',
    tegra234: 'Ampere (Orin)',
    tegra264: 'Blackwell (Thor)',
  };
  return soc === undefined ? 'Tegra' : (family[soc] ?? soc);
}

function cpuinfoField(cpuinfo: string, field: string): string | null {
  for (const line of cpuinfo.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon).trim() === field) return line.slice(colon + 1).trim() || null;
  }
  return null;
}

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
