import type { HardwareFacts } from './facts.ts';

/** Marks a device that the agent has no execution provider for. */
const UNUSED = '(present, not used)';

/**
 * GPUs by the driver of their render node. `isUsed` is false where no build of onnxruntime supports the GPU. NVIDIA's cards
 * are found by other facts.
 */
const GPU_DRIVERS: Readonly<Record<string, { readonly name: string; readonly isUsed: boolean } | null>> = {
  nvidia: null,
  nouveau: null,
  'tegra-host1x': null,
  i915: { name: 'intel: GPU', isUsed: true },
  xe: { name: 'intel: GPU', isUsed: true },
  amdgpu: { name: 'amd: GPU', isUsed: true },
  radeon: { name: 'amd: GPU', isUsed: true },
  v3d: { name: 'broadcom: VideoCore', isUsed: false },
  panthor: { name: 'arm: Mali', isUsed: false },
  panfrost: { name: 'arm: Mali', isUsed: false },
  lima: { name: 'arm: Mali', isUsed: false },
  RKNPU: null,
};

/** Drivers of /sys/class/accel. */
const ACCEL_DRIVERS: Readonly<Record<string, string>> = {
  intel_vpu: 'intel: NPU',
  amdxdna: 'amd: NPU',
  rocket: 'rockchip: NPU',
};

/** Source: The PCI ID Repository. */
const HAILO_PCI_IDS: Readonly<Record<string, string>> = {
  '1e60:2864': 'hailo: Hailo-8',
  '1e60:45c4': 'hailo: Hailo-10H',
};
/** Edge TPU on PCI, and on USB before and after its firmware is loaded. Source: Coral documentation. */
const CORAL_PCI_ID = '1ac1:089a';
const CORAL_USB_IDS = ['1a6e:089a', '18d1:9302'];

/** Devices that could compute in addition to the CPU, as `family: name`. `tegraGpu` is the GPU of a Jetson. */
export function findAccelerators(facts: HardwareFacts, tegraGpu: string | null): readonly string[] {
  return [...new Set([...gpus(facts, tegraGpu), ...neuralProcessors(facts)])];
}

export function hasNvidia(facts: HardwareFacts): boolean {
  return (
    facts.nvidiaGpus.length > 0 ||
    facts.displayVendors.includes('0x10de') ||
    facts.devices.includes('nvidia0') ||
    (facts.inventory?.gpus.some(isNvidiaName) ?? false)
  );
}

const isNvidiaName = (gpu: string): boolean => /nvidia/i.test(gpu);

function gpus(facts: HardwareFacts, tegraGpu: string | null): readonly string[] {
  const named = facts.inventory?.gpus ?? [];
  const nvidia = [
    ...(tegraGpu === null ? [] : [tegraGpu]),
    ...(facts.nvidiaGpus.length > 0 ? facts.nvidiaGpus : named.filter(isNvidiaName)),
  ];
  if (nvidia.length === 0 && hasNvidia(facts)) nvidia.push('unnamed');
  const others = named.filter((gpu) => !isNvidiaName(gpu)).map((gpu) => `gpu: ${gpu}`);
  const byDriver = others.length > 0 ? [] : facts.gpuDrivers.flatMap(gpuOfDriver);
  const found = [...nvidia.map((gpu) => `nvidia: ${gpu}`), ...others, ...byDriver];
  const hasRenderNode = facts.devices.some((name) => name.startsWith('dri/renderD'));
  return found.length === 0 && hasRenderNode && facts.gpuDrivers.length === 0 ? ['gpu: unnamed'] : found;
}

function gpuOfDriver(driver: string): readonly string[] {
  const known = GPU_DRIVERS[driver];
  if (known === null) return [];
  if (known === undefined) return [`gpu: ${driver}`];
  return [`${known.name} ${driver}${known.isUsed ? '' : ` ${UNUSED}`}`];
}

function neuralProcessors(facts: HardwareFacts): readonly string[] {
  const { devices, pciIds, usbIds, accelDrivers, gpuDrivers, devfreq, cpuinfo } = facts;
  const hasDevice = (prefix: string): boolean => devices.some((name) => name.startsWith(prefix));
  const found = new Set<string>();
  for (const id of pciIds) if (HAILO_PCI_IDS[id] !== undefined) found.add(HAILO_PCI_IDS[id]);
  if (hasDevice('hailo') && found.size === 0) found.add('hailo: NPU');
  if (hasDevice('apex') || pciIds.includes(CORAL_PCI_ID) || CORAL_USB_IDS.some((id) => usbIds.includes(id)))
    found.add('coral: Edge TPU');
  for (const driver of accelDrivers) found.add(ACCEL_DRIVERS[driver] ?? `npu: ${driver}`);
  // A container may show the device and hide its driver.
  if (accelDrivers.length === 0 && hasDevice('accel/accel'))
    found.add(cpuinfo.includes('GenuineIntel') ? 'intel: NPU' : 'npu: unnamed');
  if (gpuDrivers.includes('RKNPU') || devfreq.some((name) => name.endsWith('.npu')))
    found.add('rockchip: NPU');
  return [...found].map((name) => `${name} ${UNUSED}`);
}
