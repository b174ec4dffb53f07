// Entry of a short-lived child process that sends one message and ends. systeminformation starts programs (lspci,
// nvidia-smi, …) and keeps memory; the control process must do neither.
import { cpu, graphics, osInfo, system } from 'systeminformation';
import type { Inventory } from './facts.ts';

/** Placeholder texts in the firmware of some manufacturers, and systeminformation's model name for a container. */
const PLACEHOLDER =
  /^(|-|docker container|default string|to be filled by o\.e\.m\.|system (product name|manufacturer)|not specified)$/i;

const joinNames = (...parts: readonly string[]): string | null =>
  parts
    .map((part) => part.trim())
    .filter((part) => !PLACEHOLDER.test(part))
    .join(' ') || null;

const [processor, display, os, computer] = await Promise.allSettled([cpu(), graphics(), osInfo(), system()]);

const inventory: Inventory = {
  cpu:
    processor.status === 'fulfilled' ? joinNames(processor.value.manufacturer, processor.value.brand) : null,
  model:
    computer.status === 'fulfilled' ? joinNames(computer.value.manufacturer, computer.value.model) : null,
  os: os.status === 'fulfilled' ? joinNames(os.value.distro, os.value.release) : null,
  gpus:
    display.status === 'fulfilled'
      ? display.value.controllers.flatMap((gpu) => joinNames(gpu.vendor, gpu.model) ?? [])
      : [],
};

process.send?.(inventory, () => process.exit(0));
