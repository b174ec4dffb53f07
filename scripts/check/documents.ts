import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A path that a document names in backticks, such as `src/agent.ts` or `src/mqtt`. */
const NAMED_PATH =
  /^(?:\.\/)?(?:(?:scripts|test|docs|config|bin|models)\/[\w./-]*(?:\/|\.\w+)|src\/[\w./-]+)$/;

/**
 * What the Markdown documents of the project say about files that is not true: links to files or headings that do not
 * exist, and paths in backticks that do not exist. Code blocks are not read.
 */
export function checkDocuments(root: string, documents: readonly string[]): readonly string[] {
  return documents.flatMap((document) => {
    const text = withoutCodeBlocks(readFileSync(join(root, document), 'utf8'));
    return [...findBrokenLinks(root, document, text), ...findMissingPaths(root, document, text)];
  });
}

function findBrokenLinks(root: string, document: string, text: string): readonly string[] {
  const faults: string[] = [];
  for (const [, target = ''] of text.matchAll(/\]\(([^()\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path = '', heading] = target.split('#');
    const file = path === '' ? join(root, document) : join(root, dirname(document), path);
    if (!existsSync(file)) faults.push(`${document}: link to a missing file: ${target}`);
    else if (heading !== undefined && statSync(file).isFile() && !headingsOf(file).has(heading))
      faults.push(`${document}: link to a missing heading: ${target}`);
  }
  return faults;
}

function findMissingPaths(root: string, document: string, text: string): readonly string[] {
  return [...text.matchAll(/`([^`\s]+)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => NAMED_PATH.test(path) && !existsSync(join(root, path)))
    .map((path) => `${document}: names a missing file: ${path}`);
}

/** The anchors that GitHub gives the headings of a document. */
function headingsOf(file: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, title = ''] of withoutCodeBlocks(readFileSync(file, 'utf8')).matchAll(
    /^#{1,6} +(.+?) *$/gm,
  )) {
    const anchor = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let name = anchor;
    for (let n = 1; anchors.has(name); n += 1) name = `${anchor}-${n}`;
    anchors.add(name);
  }
  return anchors;
}

const withoutCodeBlocks = (text: string): string => text.replace(/^( *)```[\s\S]*?^\1```/gm, '');

/** Numbers of decision notes that are missing or used twice. `names` are file names such as `0001-….md`. */
export function checkDecisionNumbers(names: readonly string[]): readonly string[] {
  const numbers = names.map((name) => Number.parseInt(name, 10)).toSorted((a, b) => a - b);
  return numbers
    .map((number, index) =>
      number === index + 1 ? null : `docs/decisions: expected note ${index + 1}, found ${number}`,
    )
    .filter((fault) => fault !== null)
    .slice(0, 1);
}
