// Entry of a short-lived child process: systeminformation starts programs (lspci, nvidia-smi, …) and keeps memory,
// and neither should touch the control process. Sends one message and ends.
import { cpu, graphics, osInfo, system } from 'systeminformation';
import type { Inventory } from './hardware.ts';

/** What makers leave in their firmware, and the inventory says of a container: no names. */
const NO_NAME =
  /^(|-|docker container|default string|to be filled by o\.e\.m\.|system (product name|manufacturer)|not specified)$/i;

const line = (...parts: readonly string[]): string | null =>
  parts
    .map((part) => part.trim())
    .filter((part) => !NO_NAME.test(part))
    .join(' ') || null;

const [processor, display, os, computer] = await Promise.allSettled([cpu(), graphics(), osInfo(), system()]);

const inventory: Inventory = {
  cpu: processor.status === 'fulfilled' ? line(processor.value.manufacturer, processor.value.brand) : null,
  model: computer.status === 'fulfilled' ? line(computer.value.manufacturer, computer.value.model) : null,
  os: os.status === 'fulfilled' ? line(os.value.distro, os.value.release) : null,
  gpus:
    display.status === 'fulfilled'
      ? display.value.controllers.flatMap((gpu) => line(gpu.vendor, gpu.model) ?? [])
      : [],
};

process.send?.(inventory, () => process.exit(0));
