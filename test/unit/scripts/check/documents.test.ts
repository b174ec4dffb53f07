import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkDecisionNumbers, checkDocuments } from '../../../../scripts/check/documents.ts';

describe('checkDocuments', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'swellsight-documents-'));
    mkdirSync(join(root, 'src'));
    writeFileSync(join(root, 'src/agent.ts'), '');
    writeFileSync(join(root, 'other.md'), '# A heading: `code` and 2 words\n');
  });

  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  const check = (text: string): readonly string[] => {
    writeFileSync(join(root, 'page.md'), text);
    return checkDocuments(root, ['page.md']);
  };

  it('accepts links to files, headings and other sites, and paths that exist', () => {
    const links =
      '[a](other.md) [b](other.md#a-heading-code-and-2-words) [c](#here) [d](https://example.org/x)';
    expect(check(`# Here\n${links} \`src/agent.ts\` \`src/\` \`any/other.ts\``)).toEqual([]);
  });

  it('rejects links to missing files and headings', () => {
    expect(check('[a](missing.md) [b](other.md#missing)')).toEqual([
      'page.md: link to a missing file: missing.md',
      'page.md: link to a missing heading: other.md#missing',
    ]);
  });

  it('rejects a path in backticks that does not exist', () => {
    expect(check('`src/missing.ts` and `src/missing`')).toEqual([
      'page.md: names a missing file: src/missing.ts',
      'page.md: names a missing file: src/missing',
    ]);
  });

  it('does not read code blocks', () => {
    expect(check('```sh\n[a](missing.md) `src/missing.ts`\n```\n')).toEqual([]);
  });
});

describe('checkDecisionNumbers', () => {
  it('accepts numbers from 1 without gaps, and names the first gap or repetition', () => {
    expect(checkDecisionNumbers(['0001-a.md', '0002-b.md'])).toEqual([]);
    expect(checkDecisionNumbers(['0001-a.md', '0003-b.md', '0004-c.md'])).toEqual([
      'docs/decisions: expected note 2, found 3',
    ]);
    expect(checkDecisionNumbers(['0001-a.md', '0001-b.md'])).toEqual([
      'docs/decisions: expected note 2, found 1',
    ]);
  });
});
