/** Facts read from the machine; `null` or empty if a fact could not be read. */
export interface HardwareFacts {
  readonly platform: string;
  readonly arch: string;
  /** Output of `uname -r`. Even a container that hides all other facts shows it. */
  readonly kernel: string;
  readonly cores: number;
  readonly memoryMb: number;
  /** 4096 or 16384 on most arm64 kernels. */
  readonly pageSizeBytes: number | null;
  /** /proc/device-tree/model */
  readonly deviceTreeModel: string | null;
  /** /proc/device-tree/compatible, split at its NULs. */
  readonly deviceTreeCompatible: readonly string[];
  /** First line of /etc/nv_tegra_release. */
  readonly tegraRelease: string | null;
  /** /sys/devices/soc0/family, /machine and /soc_id, as Tegra kernels fill them. */
  readonly soc: {
    readonly family: string | null;
    readonly machine: string | null;
    readonly id: string | null;
  };
  /** /proc/cpuinfo */
  readonly cpuinfo: string;
  /** Node's name for the first CPU; empty on ARM. */
  readonly cpuBrand: string;
  /** `Model:` of each /proc/driver/nvidia/gpus/…/information. */
  readonly nvidiaGpus: readonly string[];
  /** PCI vendor ids of display and 3D controllers, for example 0x10de (NVIDIA). */
  readonly displayVendors: readonly string[];
  /** `vendor:device` of all other PCI devices, for example `1e60:2864` (Hailo-8). */
  readonly pciIds: readonly string[];
  /** `vendor:product` of USB devices. */
  readonly usbIds: readonly string[];
  /** Drivers of the render nodes, for example v3d, i915, amdgpu, RKNPU. */
  readonly gpuDrivers: readonly string[];
  /** Drivers of the devices in /sys/class/accel, for example intel_vpu. */
  readonly accelDrivers: readonly string[];
  /** Names in /sys/class/devfreq, for example `fdab0000.npu`. */
  readonly devfreq: readonly string[];
  /** Accelerator devices below /dev: nvidia0, nvhost-gpu, dri/renderD128, apex_0, hailo0, accel/accel0. */
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

/** Value of the first line `field : value` of /proc/cpuinfo; null if there is none. */
export function cpuinfoField(cpuinfo: string, field: string): string | null {
  for (const line of cpuinfo.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon).trim() === field) return line.slice(colon + 1).trim() || null;
  }
  return null;
}
