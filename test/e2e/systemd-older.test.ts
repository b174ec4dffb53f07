import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FIRST_BOOT_TIMEOUT_MS, InstalledSystem, SEA_CAMERA } from '../fixtures/installed-system.ts';

const CONFIGURATION = `
cameras:
  - ${SEA_CAMERA}
http: { token_file: http-token }
`;
const TOKEN = 'a-token-that-only-root-can-read';

/**
 * Ubuntu 22.04 and JetPack 6 have systemd 249, which reads no directory of credentials. Debian has 247 and 252; what the unit
 * needs of a systemd below 250 is the same in 247.
 */
describe('the installed service in a booted systemd before 250', () => {
  let device: InstalledSystem;

  beforeAll(async () => {
    device = await InstalledSystem.boot({
      configuration: CONFIGURATION,
      secrets: { 'http-token': TOKEN },
      systemdOf: 'bullseye',
    });
  }, FIRST_BOOT_TIMEOUT_MS);
  afterAll(() => device[Symbol.asyncDispose]());

  it('is active after the boot, observes, and has units without a fault', async () => {
    expect(device.system.must('systemctl --version')).toMatch(/^systemd 247 /);
    await device.until('active', () => device.show('ActiveState') === 'active');
    await device.observesAgain();
    expect(device.show('NRestarts')).toBe('0');
    const units =
      '/etc/systemd/system/swellsight*.service /etc/systemd/system/swellsight*.path /etc/systemd/system/swellsight*.timer';
    expect(device.system.must(`systemd-analyze verify --man=no ${units} 2>&1`)).toBe('');
  });

  it('reads a secret that only root can read', () => {
    const request = (headers: string): string =>
      `/opt/swellsight/current/node/bin/node -e 'fetch("http://127.0.0.1:8080/api/v1/status", { headers: ${headers} }).then(({ status }) => console.log(status))'`;
    expect(device.system.must(request('{}')).trim()).toBe('401');
    expect(device.system.must(request(`{ authorization: "Bearer ${TOKEN}" }`)).trim()).toBe('200');
    expect(device.system.must('stat -c "%U %a" /run/swellsight-secrets/http-token').trim()).toBe(
      'swellsight 400',
    );
  });

  it('starts again after SIGKILL, and publishes stopped when it is stopped', async () => {
    device.system.must(`kill -KILL ${device.mainPid()}`);
    await device.until('a restart', () => device.show('NRestarts') === '1');
    await device.observesAgain();
    device.system.must('systemctl stop swellsight');
    await device.until('the status', () => device.statuses().at(-1) === 'stopped');
    expect(device.show('Result')).toBe('success');
  });
});
