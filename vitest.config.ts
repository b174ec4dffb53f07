import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Against tests that hang. A busy machine with two slow cores must also keep these deadlines.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    // Most tests wait for brokers, cameras and deadlines: two cores can run three workers.
    maxWorkers: 3,
    // Concurrent tests of one file, which mostly wait.
    maxConcurrency: 3,
    pool: 'forks',
  },
});
