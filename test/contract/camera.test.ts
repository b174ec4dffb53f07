import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import { v4l2Input } from '../../src/camera/ffmpeg/input.ts';
import { FfmpegSource } from '../../src/camera/ffmpeg/source.ts';
import { HttpCamera } from '../../src/camera/http/camera.ts';
import { openCamera } from '../../src/camera/open.ts';
import { SimulatedCamera } from '../../src/camera/simulated/camera.ts';
import { StreamCamera } from '../../src/camera/ffmpeg/stream-camera.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Camera as CameraSettings } from '../../src/config/schema.ts';
import { createLog } from '../../src/base/log.ts';
import { httpServer } from '../fixtures/camera-server.ts';
import { cameraSettings } from '../fixtures/capture.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { RtspServer } from '../fixtures/rtsp.ts';
import { cameraContract } from './camera.contract.ts';

const log = createLog('silent');
const folder = mkdtempSync(join(tmpdir(), 'swellsight-camera-'));
const undo: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const picture = await jpegOf(1);
const jpegFile = join(folder, 'picture.jpg');
writeFileSync(jpegFile, picture);

const script = (name: string, lines: readonly string[]): string => {
  const path = join(folder, name);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(path, 0o755);
  return path;
};
const open = (
  settings: Partial<CameraSettings> & Pick<CameraSettings, 'kind'>,
  programs?: { ffmpeg: string; ffprobe: string },
) => openCamera(cameraSettings(settings), { clock: systemClock, log, ...(programs ? { programs } : {}) });

cameraContract('http snapshot', async () => {
  let bad = false;
  const server = await httpServer((_, response) =>
    bad ? response.writeHead(500).end() : response.end(picture),
  );
  undo.push(() => server.stop());
  const camera = new HttpCamera(
    { id: 'cam', url: server.url, username: null, password: null },
    { clock: systemClock },
  );
  return {
    camera,
    connections: () => server.connections(),
    spoil: () => void (bad = true),
    mend: () => void (bad = false),
  };
});

cameraContract('http motion JPEG, with retries', async () => {
  let bad = false;
  const server = await httpServer((_, response) => {
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace;boundary=b' });
    if (bad) response.end('--b--');
    else {
      const timer = setInterval(() => response.write(picture), 50);
      response.on('close', () => clearInterval(timer));
    }
  });
  undo.push(() => server.stop());
  const camera = await open({ kind: 'http', url: server.url, schedule: { everyS: 1 } });
  return {
    camera,
    connections: () => server.connections(),
    spoil: () => void (bad = true),
    mend: () => void (bad = false),
  };
});

cameraContract('directory in a loop', async () => {
  const dir = mkdtempSync(join(folder, 'dir-'));
  for (const name of ['1.jpg', '2.jpg', '10.jpg']) writeFileSync(join(dir, name), picture);
  return {
    camera: await open({ kind: 'directory', path: dir, replay: 'loop' }),
    spoil: () => renameSync(dir, `${dir}.away`),
    mend: () => renameSync(`${dir}.away`, dir),
  };
});

cameraContract('command', async () => {
  const state = join(mkdtempSync(join(folder, 'cmd-')), 'bad');
  const path = script('capture-stand-in', [
    `[ -e ${state} ] && { echo oh no >&2; exit 3; }`,
    `exec cat ${jpegFile}`,
  ]);
  return {
    camera: await open({ kind: 'command', command: [path], schedule: { everyS: 1 } }),
    spoil: () => writeFileSync(state, ''),
    mend: () => rmSync(state),
  };
});

cameraContract('video file', async () => {
  const path = join(folder, 'film.mp4');
  if (!existsSync(path))
    spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc=r=5:d=8:s=320x180', '-g', '5', path]);
  return {
    camera: await open({ kind: 'video', path }),
    spoil: () => renameSync(path, `${path}.away`),
    mend: () => renameSync(`${path}.away`, path),
  };
});

// The kernel of a test machine has no video device: ffmpeg's test source stands in for one, all else is as with v4l2.
cameraContract('v4l2, one connection a burst', () => {
  const device = join(mkdtempSync(join(folder, 'dev-')), 'video0');
  writeFileSync(device, '');
  const ffmpeg = script('ffmpeg-with-device', [
    `[ -e ${device} ] || { echo "[error] ${device}: No such file or directory"; exit 1; } >&2`,
    'for word; do shift; case $word in v4l2) word=lavfi ;; */video0) word=testsrc=r=15:s=320x180,realtime ;; esac; set -- "$@" "$word"; done',
    'exec ffmpeg "$@"',
  ]);
  const openSource = (fps: number) =>
    new FfmpegSource(
      { program: ffmpeg, input: v4l2Input(device), fps, redact: (text) => text },
      { clock: systemClock },
    );
  return Promise.resolve({
    camera: new StreamCamera({ id: 'cam', persistent: false }, { clock: systemClock, log, openSource }),
    spoil: () => rmSync(device),
    mend: () => writeFileSync(device, ''),
  });
});

cameraContract('rtsp, kept open', async () => {
  let server = await RtspServer.start({ fps: 10 });
  undo.push(() => server.stop());
  return {
    camera: await open({ kind: 'rtsp', url: server.url, schedule: { everyS: 2 } }),
    persistent: true,
    spoil: () => server.stop(),
    mend: async () => {
      server = await RtspServer.start({ port: server.port, fps: 10 });
    },
  };
});

// At a size that is drawn at once.
cameraContract('simulated', () =>
  Promise.resolve({
    camera: new SimulatedCamera(
      { id: 'cam', seed: 1, speed: 1, widthPx: 160, heightPx: 90 },
      { clock: systemClock, log },
    ),
  }),
);
