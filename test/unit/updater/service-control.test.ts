import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Systemd } from '../../../src/updater/service-control.ts';

const UNIT = join(import.meta.dirname, '../../../systemd/swellsight.service');
const COMMON =
  /^(CapabilityBoundingSet|PrivateUsers|RestrictNamespaces|SystemCall[A-Za-z]+|NoNewPrivileges|PrivateTmp|ProtectSystem|ProtectHome|ProtectKernelModules|ProtectKernelTunables|RestrictSUIDSGID)=/;

/** Programs in the places of those of systemd, which record their arguments. Returns a reader of the record. */
function recordCalls(): () => string[] {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-systemd-'));
  const record = join(dir, 'calls');
  for (const name of ['systemctl', 'systemd-run']) {
    writeFileSync(join(dir, name), `#!/bin/sh\nprintf '%s\\n' ${name} "$@" >>'${record}'\n`);
    chmodSync(join(dir, name), 0o755);
  }
  vi.stubEnv('PATH', `${dir}:${process.env['PATH'] ?? ''}`);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(dir, { recursive: true, force: true });
  });
  return () => readFileSync(record, 'utf8').split('\n');
}

describe('a preflight under systemd', () => {
  it('is confined at least as the service is', async () => {
    const calls = recordCalls();
    const job = { program: '/bin/true', args: [], writable: [], maxMemoryMb: 512, maxSeconds: 60 };
    expect(await new Systemd().runLimited(job, AbortSignal.timeout(30_000))).toMatchObject({ exitCode: 0 });
    const properties = calls().flatMap((line) => /^--property=(.*)$/.exec(line)?.slice(1) ?? []);
    const wanted = readFileSync(UNIT, 'utf8')
      .split('\n')
      .filter((line) => COMMON.test(line));
    expect(wanted).toHaveLength(15);
    expect(properties).toEqual(expect.arrayContaining(wanted));
  });

  it('has a fixed name, by which a later updater stops it', async () => {
    const calls = recordCalls();
    const job = { program: '/bin/true', args: [], writable: [], maxMemoryMb: 512, maxSeconds: 60 };
    const control = new Systemd();
    await control.runLimited(job, AbortSignal.timeout(30_000));
    await control.stopLimited();
    expect(calls()).toContain('--unit=swellsight-preflight.service');
    expect(calls().slice(-4)).toEqual(['systemctl', 'stop', 'swellsight-preflight.service', '']);
  });
});
