import { describe, expect, it } from 'vitest';
import { findMissingLibrary } from '../../../../src/vision/providers/trial.ts';

describe('findMissingLibrary', () => {
  it('finds the name in the output of the dynamic loader', () => {
    expect(
      findMissingLibrary(
        'Failed to load /a/b.so with error: libcublasLt.so.12: cannot open shared object file: No such',
      ),
    ).toBe('libcublasLt.so.12 is missing');
    expect(findMissingLibrary('/a/b/libshared.so: cannot open shared object file')).toBe(
      'libshared.so is missing',
    );
    expect(findMissingLibrary('no error')).toBeNull();
  });
});
