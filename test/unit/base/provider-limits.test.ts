import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  memoryLimits,
  minExtraMemoryMb,
  normalizeProviderName,
  providerLimits,
} from '../../../src/base/provider-limits.ts';

describe('providerLimits', () => {
  it('gives an accelerator more memory and time than the CPU', () => {
    const cpu = providerLimits('cpu');
    for (const provider of ['cuda', 'tensorrt', 'webgpu', 'coreml']) {
      const limits = providerLimits(provider);
      expect(limits.extraMemoryMb).toBeGreaterThan(cpu.extraMemoryMb);
      expect(limits.trialTimeS).toBeGreaterThan(cpu.trialTimeS);
    }
  });

  it('holds the CUDA libraries of a Jetson Xavier NX, which need 1.75 GB', () => {
    expect(memoryLimits('cuda', 300).replaceAboveMb).toBeGreaterThan(1.75 * 1024);
  });

  it('accepts the names of the Python API', () => {
    expect(normalizeProviderName(' WebGpuExecutionProvider ')).toBe('webgpu');
    expect(providerLimits('TensorrtExecutionProvider')).toEqual(providerLimits('tensorrt'));
  });

  it('is the table of docs/providers.md', () => {
    const doc = readFileSync(new URL('../../../docs/providers.md', import.meta.url), 'utf8');
    for (const [label, provider] of [
      ['`cpu`', 'cpu'],
      ['`cuda`', 'cuda'],
      ['`tensorrt`', 'tensorrt'],
      ['all others', 'webgpu'],
    ] as const) {
      const { extraMemoryMb, trialTimeS } = providerLimits(provider);
      const row = doc.split('\n').find((line) => line.startsWith(`| ${label} `) && line.includes(' MiB '));
      expect(
        row
          ?.split('|')
          .slice(2, 4)
          .map((cell) => Number.parseInt(cell, 10)),
      ).toEqual([extraMemoryMb, trialTimeS]);
    }
  });
});

describe('memoryLimits', () => {
  it('replaces a CPU process above the configured limit, and lets it kill itself above twice that', () => {
    expect(memoryLimits('cpu', 300)).toEqual({ replaceAboveMb: 300, killAboveMb: 600 });
  });

  it('adds the libraries of the provider once', () => {
    const { extraMemoryMb } = providerLimits('cuda');
    expect(memoryLimits('cuda', 300)).toEqual({
      replaceAboveMb: 300 + extraMemoryMb,
      killAboveMb: 600 + extraMemoryMb,
    });
  });

  it('never exceeds the memory that is available', () => {
    expect(memoryLimits('tensorrt', 300, 1000)).toEqual({ replaceAboveMb: 1000, killAboveMb: 1000 });
    expect(memoryLimits('cpu', 300, 200)).toEqual({ replaceAboveMb: 200, killAboveMb: 200 });
  });
});

describe('minExtraMemoryMb', () => {
  it('is what the smallest of the required providers needs', () => {
    expect(minExtraMemoryMb(['TensorrtExecutionProvider', 'CUDAExecutionProvider'])).toBe(
      providerLimits('cuda').extraMemoryMb,
    );
    expect(minExtraMemoryMb(['cuda', 'cpu'])).toBe(0);
    expect(minExtraMemoryMb(undefined)).toBe(0);
  });
});
