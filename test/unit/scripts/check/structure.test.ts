import { describe, expect, it } from 'vitest';
import { checkStructure, exportedNames, type SourceFile } from '../../../../scripts/check/structure.ts';

const lines = (count: number, first = '// a file'): string => `${first}\n${'\n'.repeat(count - 1)}`;
const file = (path: string, text = lines(100)): SourceFile => ({ path, text });
const good = [file('agent.ts'), file('main.ts'), file('mqtt/topics.ts'), file('mqtt/link/session.ts')];
const rules = { importRules: new Set(['imports-of-mqtt', 'imports-of-mqtt-link']), sharedNames: {} };

describe('checkStructure', () => {
  it('accepts a tree that follows the rules, and counts it', () => {
    expect(checkStructure(good, rules)).toEqual({ faults: [], files: 4, lines: 400, medianLines: 100 });
  });

  it('rejects other files directly in src/, and a missing agent.ts', () => {
    expect(checkStructure([...good.slice(1), file('loose.ts')], rules).faults).toEqual([
      'src/loose.ts belongs in a directory of src/',
      'src/agent.ts is missing',
    ]);
  });

  it('rejects a median outside of 80 to 120 lines', () => {
    const sized = (size: number): readonly string[] =>
      checkStructure(
        good.map(({ path }) => file(path, lines(size))),
        rules,
      ).faults;
    expect([80, 120].flatMap(sized)).toEqual([]);
    expect([79, 121].flatMap(sized)).toEqual([
      'the median file has 79 lines, not 80 to 120',
      'the median file has 121 lines, not 80 to 120',
    ]);
  });

  it('rejects a file over 300 lines without a reason on its first line', () => {
    const withFile = (text: string): readonly string[] =>
      checkStructure([...good, file('mqtt/long.ts', text)], rules).faults;
    expect(withFile(lines(300))).toEqual([]);
    expect(withFile(lines(301))).toHaveLength(1);
    expect(withFile(lines(301, '// Longer than 300 lines because it is one table.'))).toEqual([]);
  });

  it('rejects a directory without an import rule', () => {
    expect(checkStructure([...good, file('mqtt/link/deep/x.ts')], rules).faults).toEqual([
      'src/mqtt/link/deep/ has no import rule in .dependency-cruiser.cjs',
    ]);
  });

  it('rejects a name that three files export, unless the list has a reason', () => {
    const text = lines(100, 'export function describe(): void {}');
    const two = [...good, file('mqtt/a.ts', text), file('mqtt/b.ts', text)];
    const three = [...two, file('mqtt/c.ts', text)];
    expect(checkStructure(two, rules).faults).toEqual([]);
    expect(checkStructure(three, rules).faults).toEqual([
      '"describe" is exported by 3 files: mqtt/a.ts, mqtt/b.ts, mqtt/c.ts',
    ]);
    const sharedNames = { describe: 'each process has one' };
    expect(checkStructure(three, { ...rules, sharedNames }).faults).toEqual([]);
    expect(checkStructure(two, { ...rules, sharedNames }).faults).toHaveLength(1);
  });
});

describe('exportedNames', () => {
  it('finds declarations and lists, but not what a file passes on', () => {
    const text = [
      'export const a = 1;',
      'export async function b() {}',
      'export abstract class C {}',
      'export interface D {}',
      'export type E = 1;',
      'const local = 1;',
      'export { local as f, type G };',
      "export { passedOn } from './other.ts';",
    ].join('\n');
    expect(exportedNames(text)).toEqual(['a', 'b', 'C', 'D', 'E', 'f', 'G']);
  });
});
