import { describe, expect, it } from 'vitest';
import { Emitter } from '../../../src/base/emitter.ts';

describe('Emitter', () => {
  it('calls its listeners in the order in which they were added', () => {
    const emitter = new Emitter<[value: number]>();
    const calls: string[] = [];
    emitter.listen((value) => calls.push(`first ${value}`));
    emitter.listen((value) => calls.push(`second ${value}`));
    const { emit } = emitter;
    emit(7);
    expect(calls).toEqual(['first 7', 'second 7']);
  });

  it('does nothing without listeners', () => {
    new Emitter().emit();
  });

  it('waits for each listener before the next one runs', async () => {
    const emitter = new Emitter();
    const calls: string[] = [];
    emitter.listen(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      calls.push('slow');
    });
    emitter.listen(() => calls.push('fast'));
    await emitter.emitAndWait();
    expect(calls).toEqual(['slow', 'fast']);
  });

  it('passes an error of a listener to the caller', async () => {
    const emitter = new Emitter();
    emitter.listen(() => {
      throw new Error('broken');
    });
    expect(() => emitter.emit()).toThrow('broken');
    await expect(emitter.emitAndWait()).rejects.toThrow('broken');
  });
});
