import { describe, expect, it } from 'vitest';
import { findPlaceholders } from '../../../src/config/placeholders.ts';

const isFound = (value: string): boolean => findPlaceholders({ site: value }, 'patch').length > 0;

describe('findPlaceholders', () => {
  it.each(['${A}', 'a${}b', 'x {{ name }} y', '{{}}', '$(NAME)', '$NAME', '%NAME%', '}{{{ }}'])(
    'finds %s',
    (value) => expect(isFound(value)).toBe(true),
  );

  it.each(['}${', '}}{{', '{{}', '${', '$5', 'a$NAME', '$()', '100%', '$NAME-1', '{a}'])(
    'accepts %s',
    (value) => expect(isFound(value)).toBe(false),
  );

  // With an expression whose time grows with the square of the length, each case takes more than a minute.
  it.each(['{', '${', '$(', '}}{{{'])('reads a long text of %s', (part) => {
    expect(isFound(part.repeat(300_000).replaceAll('}', ' '))).toBe(false);
  });
});
