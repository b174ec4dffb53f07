import { describe, expect, it } from 'vitest';
import { resolveCredentials } from '../../../src/camera/credentials.ts';
import { formatFault } from '../../../src/config/faults.ts';
import type { CameraInput } from '../../../src/config/schema.ts';
import { useSettingsDir } from '../../fixtures/settings.ts';

const dir = useSettingsDir();
const input = (camera: Partial<CameraInput>) => ({
  file: 'file',
  document: { cameras: [{ id: 'a', kind: 'rtsp', ...camera }] },
});
const faultsOf = (camera: Partial<CameraInput>): string =>
  dir.getFaults(input(camera)).map(formatFault).join('\n');

describe('the address of a camera', () => {
  // Each part of the password "mark…er" would show.
  it.each([
    'rtsp://me:mark/er@10.0.0.9/live',
    'rtsp://me:mark?er@10.0.0.9/live',
    'rtsp://me:mark#er@10.0.0.9/live',
    String.raw`rtsp://me:mark\er@10.0.0.9/live`,
    'rtsp://me:mark er@10.0.0.9/live',
    'rtsp://me:mark@/er@cam.lan:554/live',
    'rtsp://mark:12/er@cam.lan/live',
    'rtsp://mark:12#er@[fe80::1]:554/live',
    'rtsp://mark:12?er@localhost/live',
    'rtsp://mark/er:x@10.0.0.9/live',
    'http://me:mark:er@10.0.0.9/live',
  ])('explains a login that cannot stand in it, and shows no part of it: %s', (url) => {
    const fault = faultsOf({ url });
    expect(fault).toMatch(/^cameras\[0\]\.url: given "?\*\*\*"?, wanted a URL with rtsp:\/\//);
    expect(fault).toMatch(/login with characters such as .* in the keys username and password/);
    expect(fault).not.toMatch(/mark|er@|12/);
  });

  it.each([
    { username: 'u\r\nTEARDOWN rtsp://10.0.0.9/ RTSP/1.0', password: 'p' },
    { username: 'u', password: 'p\n' },
    { username: 'u\u0085' },
    { url: 'rtsp://u%0d%0aX:p@10.0.0.9/live' },
    { url: 'rtsp://u:p%00@10.0.0.9/live' },
  ])('has no control characters in its login: %j', (camera) => {
    const fault = faultsOf({ url: 'rtsp://10.0.0.9/live', ...camera });
    expect(fault).toMatch(/^cameras\[0\]\.(url|username|password): .* without control characters/);
    expect(fault).not.toMatch(/TEARDOWN|%0/);
  });

  it.each([
    'rtsp://10.0.0.9/live@1',
    'rtsp://10.0.0.9:554/mail@example.org/live',
    'rtsp://cam:554/live@1',
    'rtsp://me:pass@cam/live',
    'rtsp://me:p@ss@10.0.0.9:554/live',
    'rtsp://me:50%off@10.0.0.9/live?x=a@b.c',
    'rtsp://[fe80::1]:554/a@b.c',
    'rtsp://me:p[ss@10.0.0.9/live',
  ])('may be %s', (url) => {
    expect(faultsOf({ url })).toBe('');
  });

  it.each([
    ['rtsp://me:p@ss@h/', 'me', 'p@ss'],
    ['rtsp://me:p%40ss%2F%23@h/', 'me', 'p@ss/#'],
    ['rtsp://me:50%off@h/', 'me', '50%off'],
    ['rtsp://me@h/', 'me', ''],
    ['rtsp://:pass@h/', '', 'pass'],
    ['rtsp://mé:ö ü€@h/', 'mé', 'ö ü€'],
  ])('%s has the login %s and %s', (url, username, password) => {
    expect(resolveCredentials({ url, username: null, password: null })).toEqual({ username, password });
  });

  it('takes any character in username and password, also no password', () => {
    const odd = String.raw`@ # / ? : % ö€ "'\ `;
    const { cameras } = dir.load(input({ url: 'rtsp://h/', username: odd, password: odd }));
    expect(resolveCredentials(cameras[0]!)).toEqual({ username: odd, password: odd });
    const empty = dir.load(input({ url: 'rtsp://h/', username: 'me', password: '' })).cameras[0]!;
    expect(resolveCredentials(empty)).toEqual({ username: 'me', password: '' });
  });
});

describe('transport', () => {
  it('is auto by default, and may be tcp or udp', () => {
    expect(dir.load(input({ url: 'rtsp://h/' })).cameras[0]?.transport).toBe('auto');
    expect(dir.load(input({ url: 'rtsp://h/', transport: 'udp' })).cameras[0]?.transport).toBe('udp');
  });

  it.each<[Partial<CameraInput>, RegExp]>([
    [{ url: 'rtsp://h/', transport: 'http' as 'tcp' }, /cameras\[0\]\.transport.*one of auto, tcp, udp/],
    [
      { url: 'http://h/', kind: 'hls', transport: 'tcp' },
      /cameras\[0\]\.transport.*no transport, because kind is hls/,
    ],
    [
      { kind: 'video', path: 'x.mp4', transport: 'udp' },
      /cameras\[0\]\.transport.*no transport, because kind is video/,
    ],
  ])('is a fault elsewhere and with other values: %j', (camera, fault) => {
    expect(faultsOf(camera)).toMatch(fault);
  });
});
