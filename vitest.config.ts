import { availableParallelism, totalmem } from 'node:os';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './scripts/check/longest-first.ts';

/**
 * Most tests wait for brokers, cameras and deadlines; with more workers than these, deadlines pass on two cores. A worker with
 * its agents needs a gigabyte.
 */
const WORKERS = Math.max(
  1,
  Math.min(8, Math.ceil(1.5 * availableParallelism()), Math.floor(totalmem() / 2 ** 30)),
);
/** These tests have no state outside of their objects: one process runs many files, and loads the modules once. */
const SHARING = ['test/unit/**/*.test.ts', 'test/integration/http/**/*.test.ts'];

export default defineConfig({
  test: {
    // Against tests that hang. A busy machine with two slow cores must also keep these deadlines.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    maxWorkers: WORKERS,
    // Concurrent tests of one file, which mostly wait.
    maxConcurrency: 3,
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: { name: 'isolated', include: ['test/**/*.test.ts'], exclude: [...SHARING] },
      },
      {
        extends: true,
        test: { name: 'sharing', include: [...SHARING], isolate: false },
      },
    ],
  },
});
