import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Deadlines against hanging, not measures: a busy machine of two slow cores must keep them too.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    // Most of them wait for brokers, cameras and deadlines: two cores have room for a third.
    maxWorkers: 3,
    // Of the cases in a file that run at once because they wait for most of their time.
    maxConcurrency: 3,
    pool: 'forks',
  },
});
