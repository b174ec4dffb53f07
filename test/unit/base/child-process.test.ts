import { spawn } from 'node:child_process';
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

  it('keeps the settings of the agent from camera programs', () => {
    const names = Object.keys(childEnvironment(environment, 'program'));
    expect(names).toContain('PATH');
    expect(names).not.toContain('SWELLSIGHT_MQTT_PASSWORD');
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
