import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Event } from '../../src/contract/states.ts';
import { FIRST_BOOT_TIMEOUT_MS, InstalledSystem, SEA_CAMERA } from '../fixtures/installed-system.ts';

const CONFIGURATION = `
cameras:
  - ${SEA_CAMERA}
inference: { timeoutS: 3 }
http: { token_file: http-token }
`;
const TOKEN = 'a-token-that-only-root-can-read';

describe('the installed service in a booted systemd', () => {
  let device: InstalledSystem;

  beforeAll(async () => {
    device = await InstalledSystem.boot({ configuration: CONFIGURATION, secrets: { 'http-token': TOKEN } });
  }, FIRST_BOOT_TIMEOUT_MS);
  afterAll(() => device[Symbol.asyncDispose]());

  /** Sends a signal to a process of the container. Never to 0, which means the processes of this test. */
  const send = (signal: string, pid: number | null): void => {
    if (pid === null || pid <= 1) throw new Error(`no process ${pid ?? ''} of the service runs`);
    device.system.must(`kill -${signal} ${pid}`);
  };
  const get = (path: string, headers = '{}'): string =>
    device.system
      .must(
        `/opt/swellsight/current/node/bin/node -e 'fetch("http://127.0.0.1:8080${path}", { headers: ${headers} }).then(({ status }) => console.log(status))'`,
      )
      .trim();

  it('is active after the boot and observes', async () => {
    await device.until('active', () => device.show('ActiveState') === 'active');
    await device.observesAgain();
    expect(device.statuses()).toContain('online');
    expect(device.show('NRestarts')).toBe('0');
    expect(get('/live')).toBe('200');
  });

  it('has units without a fault, and an exposure of at most 1.6', () => {
    const units =
      '/etc/systemd/system/swellsight*.service /etc/systemd/system/swellsight*.path /etc/systemd/system/swellsight*.timer';
    expect(device.system.must(`systemd-analyze verify --man=no ${units} 2>&1`)).toBe('');
    const report = device.system.must('systemd-analyze security --no-pager swellsight.service');
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(report)?.[1]);
    console.log(`exposure of swellsight.service: ${exposure}`);
    expect(exposure).toBeLessThanOrEqual(1.6);
  });

  it('reads a secret that only root can read, and runs as its own user', () => {
    expect(get('/api/v1/status')).toBe('401');
    expect(get('/api/v1/status', `{ authorization: "Bearer ${TOKEN}" }`)).toBe('200');
    expect(device.system.must(`ps -o user= -p ${device.mainPid()}`).trim()).toBe('swellsight');
  });

  it('reads the configuration again at a reload, and goes on', async () => {
    device.system.must(`echo 'heartbeat: { intervalS: 20 }' >>/etc/swellsight/swellsight.yaml`);
    device.system.must('systemctl reload swellsight');
    await device.until('the event', () => device.events('config_changed').length === 1);
    expect(device.events('config_changed')[0]?.context).toMatchObject({
      keys: ['heartbeat.intervalS'],
      restart: [],
    });
    expect(device.show('NRestarts')).toBe('0');
  });

  it('replaces a vision process that hangs, and goes on', async () => {
    const pid = device.visionPid();
    send('STOP', pid);
    await device.until('another vision process', () => {
      const next = device.visionPid();
      return next !== null && next !== pid;
    });
    await device.observesAgain();
    expect(device.show('NRestarts')).toBe('0');
  });

  it('starts again after SIGKILL, and reports it', async () => {
    send('KILL', device.mainPid());
    await device.until('a restart', () => device.show('NRestarts') === '1');
    await device.observesAgain();
    const events = (): readonly Event[] => device.events('service_stopped');
    await device.until('the event', () => events().length > 0);
    expect(events().map(({ code, context }) => [code, context['exit_status']])).toEqual([['signal', 'KILL']]);
  });

  it('starts again when the main process hangs', async () => {
    send('STOP', device.mainPid());
    await device.until('a restart', () => device.show('NRestarts') === '2');
    await device.observesAgain();
    const codes = () => device.events('service_stopped').map(({ code }) => code);
    await device.until('the event', () => codes().length > 1);
    expect(codes()).toEqual(['signal', 'watchdog']);
  });

  it('publishes stopped when it is stopped', async () => {
    device.system.must('systemctl stop swellsight');
    await device.until('the status', () => device.statuses().at(-1) === 'stopped');
    expect(device.show('Result')).toBe('success');
    expect(device.system.must('cat /var/lib/swellsight/last-stop.json')).toContain(
      '"service_result":"success"',
    );
    const processes = device.system.run('pgrep -u swellsight').stdout;
    expect(processes).toBe('');
  });
});
