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
import { DrawingProcess } from '../../src/camera/simulated/drawing-process.ts';
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
const directory = mkdtempSync(join(tmpdir(), 'swellsight-camera-'));
const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const jpeg = await jpegOf(1);
const jpegFile = join(directory, 'image.jpg');
writeFileSync(jpegFile, jpeg);

const script = (name: string, lines: readonly string[]): string => {
  const path = join(directory, name);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(path, 0o755);
  return path;
};
const open = (
  settings: Partial<CameraSettings> & Pick<CameraSettings, 'kind'>,
  programs?: { ffmpeg: string; ffprobe: string },
) => openCamera(cameraSettings(settings), { clock: systemClock, log, ...(programs ? { programs } : {}) });

cameraContract('http snapshot', async () => {
  let isBroken = false;
  const server = await httpServer((_, response) =>
    isBroken ? response.writeHead(500).end() : response.end(jpeg),
  );
  cleanups.push(() => server.stop());
  const camera = new HttpCamera(
    { id: 'cam', url: server.url, username: null, password: null },
    { clock: systemClock },
  );
  return {
    camera,
    connections: () => server.connections(),
    breakSource: () => void (isBroken = true),
    repairSource: () => void (isBroken = false),
  };
});

cameraContract('http motion JPEG, with retries', async () => {
  let isBroken = false;
  const server = await httpServer((_, response) => {
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace;boundary=b' });
    if (isBroken) response.end('--b--');
    else {
      const timer = setInterval(() => response.write(jpeg), 50);
      response.on('close', () => clearInterval(timer));
    }
  });
  cleanups.push(() => server.stop());
  const camera = await open({ kind: 'http', url: server.url, schedule: { everyS: 1 } });
  return {
    camera,
    isStream: true,
    connections: () => server.connections(),
    breakSource: () => void (isBroken = true),
    repairSource: () => void (isBroken = false),
  };
});

cameraContract('directory in a loop', async () => {
  const dir = mkdtempSync(join(directory, 'dir-'));
  for (const name of ['1.jpg', '2.jpg', '10.jpg']) writeFileSync(join(dir, name), jpeg);
  return {
    camera: await open({ kind: 'directory', path: dir, replay: 'loop' }),
    breakSource: () => renameSync(dir, `${dir}.away`),
    repairSource: () => renameSync(`${dir}.away`, dir),
  };
});

cameraContract('command', async () => {
  const state = join(mkdtempSync(join(directory, 'cmd-')), 'bad');
  const path = script('capture-stand-in', [
    `[ -e ${state} ] && { echo oh no >&2; exit 3; }`,
    `exec cat ${jpegFile}`,
  ]);
  return {
    camera: await open({ kind: 'command', command: [path], schedule: { everyS: 1 } }),
    breakSource: () => writeFileSync(state, ''),
    repairSource: () => rmSync(state),
  };
});

cameraContract('video file', async () => {
  const path = join(directory, 'film.mp4');
  if (!existsSync(path))
    spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc=r=5:d=8:s=320x180', '-g', '5', path]);
  return {
    camera: await open({ kind: 'video', path }),
    breakSource: () => renameSync(path, `${path}.away`),
    repairSource: () => renameSync(`${path}.away`, path),
  };
});

// A test machine has no video device. ffmpeg's test source replaces it; everything else is as with v4l2.
cameraContract('v4l2, one connection per burst', () => {
  const device = join(mkdtempSync(join(directory, 'dev-')), 'video0');
  writeFileSync(device, '');
  const ffmpeg = script('ffmpeg-with-device', [
    `[ -e ${device} ] || { echo "[error] ${device}: No such file or directory"; exit 1; } >&2`,
    'for word; do shift; case $word in v4l2) word=lavfi ;; */video0) word=testsrc=r=15:s=320x180,realtime ;; esac; set -- "$@" "$word"; done',
    'exec ffmpeg "$@"',
  ]);
  const openSource = (fps: number) =>
    Promise.resolve(
      new FfmpegSource(
        { program: ffmpeg, input: v4l2Input(device), fps, redact: (text) => text },
        { clock: systemClock },
      ),
    );
  return Promise.resolve({
    camera: new StreamCamera(
      { id: 'cam', persistent: false, fps: null },
      { clock: systemClock, log, openSource },
    ),
    breakSource: () => rmSync(device),
    repairSource: () => writeFileSync(device, ''),
  });
});

cameraContract('rtsp, kept open', async () => {
  let server = await RtspServer.start({ fps: 10 });
  cleanups.push(() => server.stop());
  return {
    camera: await open({ kind: 'rtsp', url: server.url, schedule: { everyS: 2 } }),
    persistent: true,
    breakSource: () => server.stop(),
    repairSource: async () => {
      server = await RtspServer.start({ port: server.port, fps: 10 });
    },
  };
});

// A small size, to draw fast.
cameraContract('simulated', () =>
  Promise.resolve({
    camera: new SimulatedCamera(
      { id: 'cam', seed: 1, speed: 1, widthPx: 160, heightPx: 90 },
      { clock: systemClock, log, drawing: new DrawingProcess() },
    ),
  }),
);
