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

test('the active model, then the former one, then the shipped one', () => {
  expect(inOrder({ active: ref('new'), previous: ref('old') }, ['new', 'old'])).toEqual([
    'active new/1.0.0',
    'previous old/1.0.0',
    'factory factory',
  ]);
});

test('a former model that is the shipped one has its turn once', () => {
  expect(inOrder({ active: ref('new'), previous: ref('shipped') }, ['new'])).toEqual([
    'active new/1.0.0',
    'factory factory',
  ]);
});

test('an empty slot is the shipped model, whatever came before it', () => {
  expect(inOrder({ previous: ref('old') }, ['old'])).toEqual(['factory factory']);
});

test('a pinned model passes over the slots', () => {
  expect(inOrder({ active: ref('new'), previous: ref('old') }, ['new', 'old'], 'old/1.0.0')).toEqual([
    'pinned old/1.0.0',
    'factory factory',
  ]);
});
