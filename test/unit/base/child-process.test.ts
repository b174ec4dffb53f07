import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { childEnvironment } from '../../../src/base/child-environment.ts';
import { residentMb } from '../../../src/base/process-facts.ts';

describe('childEnvironment', () => {
  const environment = {
    PATH: '/bin',
    TZ: 'UTC',
    HTTPS_PROXY: 'http://proxy',
    CUDA_CACHE_PATH: '/cache',
    CREDENTIALS_DIRECTORY: '/run/credentials',
    NOTIFY_SOCKET: '/run/notify',
    SWELLSIGHT_MQTT_PASSWORD: 'secret',
    AWS_SECRET_ACCESS_KEY: 'secret',
  };

  it('gives the vision process only what native libraries look for', () => {
    expect(Object.keys(childEnvironment(environment, 'vision'))).toEqual(['PATH', 'TZ', 'CUDA_CACHE_PATH']);
  });

  it('gives the vision process what the GPU of a Jetson needs', () => {
    const jetson = {
      LD_LIBRARY_PATH: '/usr/local/cuda/lib64',
      LD_PRELOAD: '/usr/lib/aarch64-linux-gnu/libgomp.so.1',
      GLIBC_TUNABLES: 'glibc.rtld.optional_static_tls=2048',
      CUDA_CACHE_MAXSIZE: '1073741824',
      CUDNN_LOGLEVEL_DBG: '1',
      CUBLAS_WORKSPACE_CONFIG: ':16:8',
      NVIDIA_VISIBLE_DEVICES: 'all',
      ORT_TENSORRT_CACHE_PATH: '/var/lib/swellsight/tensorrt',
    };
    expect(childEnvironment(jetson, 'vision')).toEqual(jetson);
    expect(childEnvironment(jetson, 'fetch')).toEqual({});
  });

  it('gives the download process only what TLS, proxies and time zones need', () => {
    expect(Object.keys(childEnvironment(environment, 'fetch'))).toEqual(['TZ', 'HTTPS_PROXY']);
  });

  it('gives camera programs only what they look for', () => {
    expect(Object.keys(childEnvironment(environment, 'program'))).toEqual(['PATH', 'TZ', 'CUDA_CACHE_PATH']);
    const stacks = { GST_PLUGIN_PATH: '/opt', LIBCAMERA_LOG_LEVELS: '*:3', LC_TIME: 'C', HOME: '/home/pi' };
    expect(childEnvironment(stacks, 'program')).toEqual(stacks);
  });

  it('is the environment of every process that the sources start', () => {
    const src = join(import.meta.dirname, '..', '..', '..', 'src');
    const calls = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => ({ name, text: readFileSync(join(src, name), 'utf8') }))
      .filter(({ text }) => text.includes("'node:child_process'"))
      .flatMap(({ name, text }) =>
        [...text.matchAll(/(?<![.\w])(?:spawn|fork|exec|execFile|promisify\(execFile\))(?:Sync)?\(/g)].map(
          ({ index }) => ({ name, call: text.slice(index, text.indexOf(';', index)) }),
        ),
      );
    expect(calls.length).toBeGreaterThanOrEqual(10);
    // The check of the database gets no variable at all of the agent.
    const hasOwn = (call: string): boolean => call.includes("env: { MALLOC_ARENA_MAX: '2' }");
    const others = calls.filter(({ call }) => !call.includes('childEnvironment(') && !hasOwn(call));
    expect(others.map(({ name }) => name)).toEqual([]);
  });
});

describe('residentMb', () => {
  it('is close to what the process itself measures', () => {
    expect(residentMb(process.pid)).toBeGreaterThan(20);
    expect(Math.abs((residentMb(process.pid) ?? 0) - process.memoryUsage.rss() / 2 ** 20)).toBeLessThan(20);
  });

  it('is null for a process that has ended, and for none', async () => {
    const child = spawn('true');
    await new Promise((resolve) => child.once('close', resolve));
    expect(residentMb(child.pid)).toBeNull();
    expect(residentMb(undefined)).toBeNull();
  });
});
