import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { openAdjtimex } from '../../../src/health/clock-sync.ts';

/** Reads the return value and the status word of adjtimex through ctypes. */
const SCRIPT = `
import ctypes
timex = ctypes.create_string_buffer(512)
result = ctypes.CDLL(None).adjtimex(timex)
print(result, int.from_bytes(timex.raw[40:44], 'little'))
`;

it.runIf(['x64', 'arm64'].includes(process.arch))(
  'reads the same kernel state as another program',
  async () => {
    const [result, status] = execFileSync('/usr/bin/python3', ['-c', SCRIPT], { encoding: 'utf8' })
      .split(' ')
      .map(Number);
    const state = (await openAdjtimex())?.() ?? null;
    if (result === -1) {
      expect(state).toBeNull();
      return;
    }
    const STA_UNSYNC = 0x40;
    expect(state?.synced).toBe(((status ?? 0) & STA_UNSYNC) === 0);
    if (state?.synced === true) expect(Math.abs(state.offsetMs ?? Number.NaN)).toBeLessThan(1_000);
    else expect(state?.offsetMs).toBeNull();
  },
);
