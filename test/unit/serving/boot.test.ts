import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SlotRef, SlotsState } from '../../../src/model/types.ts';
import { bootCandidates } from '../../../src/serving/boot.ts';
import { tempDir } from '../../fixtures/store.ts';

const ref = (name: string): SlotRef => ({
  name,
  version: '1.0.0',
  digest: `sha256:${name}`,
  trusted: true,
});
const inOrder = (state: Partial<SlotsState>, installed: readonly string[], pinned: string | null = null) => {
  const { path, remove } = tempDir();
  const bundleOf = (digest: string): string => join(path, digest.replace(':', '-'));
  for (const name of installed) mkdirSync(bundleOf(`sha256:${name}`));
  const full: SlotsState = {
    format: 1,
    active: null,
    previous: null,
    candidate: null,
    install: null,
    refused: [],
    ...state,
  };
  const candidates = bootCandidates(
    { model: { active: pinned, allowUnsigned: false }, shippedDir: path, installedDirs: [] },
    { state: full, bundleDir: bundleOf },
  );
  remove();
  return candidates.map(({ from, wanted }) => `${from} ${wanted}`);
};

test('tries the active model, then the previous one, then the shipped one', () => {
  expect(inOrder({ active: ref('new'), previous: ref('old') }, ['new', 'old'])).toEqual([
    'active new/1.0.0',
    'previous old/1.0.0',
    'factory factory',
  ]);
});

test('tries a previous model that is the shipped one only once', () => {
  expect(inOrder({ active: ref('new'), previous: ref('shipped') }, ['new'])).toEqual([
    'active new/1.0.0',
    'factory factory',
  ]);
});

test('an empty active slot means the shipped model, whatever the previous slot has', () => {
  expect(inOrder({ previous: ref('old') }, ['old'])).toEqual(['factory factory']);
});

test('a pinned model is tried instead of the slots', () => {
  expect(inOrder({ active: ref('new'), previous: ref('old') }, ['new', 'old'], 'old/1.0.0')).toEqual([
    'pinned old/1.0.0',
    'factory factory',
  ]);
});
