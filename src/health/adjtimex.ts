import type { ClockState } from './types.ts';

const STA_UNSYNC = 0x0040;
const STA_NANO = 0x2000;
/** Bytes of `struct timex` where `long` has 8. */
const TIMEX_BYTES = 208;
/** What the kernel says while nothing keeps the clock (NTP_PHASE_LIMIT), microseconds. */
const UNKNOWN_ERROR_US = 16_000_000n;

/**
 * Asks the kernel whether something keeps its clock right: true for chrony, ntpd, systemd-timesyncd and PTP alike,
 * also in a container, whose own clock this is. Reading needs no rights.
 * Resolves to null where the call cannot be made (32 bit, another system, a filter that forbids it).
 * Source: adjtimex(2); layout of struct timex in include/uapi/linux/timex.h.
 */
export async function openAdjtimex(): Promise<(() => ClockState | null) | null> {
  if (process.platform !== 'linux' || !['x64', 'arm64', 'riscv64', 'loong64'].includes(process.arch))
    return null;
  try {
    const { default: koffi } = await import('koffi');
    const adjtimex = koffi.load(null).func('int adjtimex(void *timex)') as (timex: Buffer) => number;
    const read = (): ClockState | null => {
      const timex = Buffer.alloc(TIMEX_BYTES);
      // -1 is a refusal; 5 (TIME_ERROR) only says once more that the clock is not synchronised.
      return adjtimex(timex) === -1 ? null : parseTimex(timex);
    };
    return read() === null ? null : read;
  } catch {
    return null;
  }
}

/** What a `struct timex` of 64 bits, little-endian, says of the clock. */
export function parseTimex(timex: Buffer): ClockState {
  const status = timex.readInt32LE(40);
  const maxErrorUs = timex.readBigInt64LE(24);
  // chrony leaves the flag standing unless `rtcsync` is set; but only who keeps the clock states an error.
  const kept = (status & STA_UNSYNC) === 0 || (maxErrorUs >= 0n && maxErrorUs < UNKNOWN_ERROR_US);
  if (!kept) return { synced: false, offsetMs: null };
  const perMs = (status & STA_NANO) !== 0 ? 1e6 : 1e3;
  return { synced: true, offsetMs: Number(timex.readBigInt64LE(8)) / perMs };
}
