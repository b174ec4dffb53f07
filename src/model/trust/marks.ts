import { Type, type Static } from '@sinclair/typebox';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../base/atomic-file.ts';
import { Nullable } from '../../contract/nullable.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { digestText } from '../bundle/files.ts';

const Version = Type.Integer({ minimum: 1 });
const Signers = Type.Array(Type.String());

const MarksSchema = Type.Object({
  /** Of the pinned root's signed part: other marks belong to another operator. */
  pinned: Type.String(),
  /** Grows with each write: the larger one of two copies is the truth. */
  writes: Type.Integer({ minimum: 0 }),
  root: Version,
  timestamp: Nullable(Type.Object({ version: Version, snapshot: Version, signers: Signers })),
  snapshot: Nullable(Type.Object({ targets: Version, signers: Signers })),
  /** The newest time at which a whole repository was found fresh under a believable clock, ms since the epoch. */
  floorMs: Nullable(Type.Number({ minimum: 0 })),
});
/** The highest versions and the newest time that were verified under one pinned root. */
export type Marks = Static<typeof MarksSchema>;

const check = schemaChecker({ strict: true }).compile<Marks>(MarksSchema);

/** Two copies, so that one damaged file opens no way back. */
const FILES = ['marks.json', 'marks.copy.json'] as const;

/** The newest whole copy; null when there is none for this pinned root. */
export async function readMarks(dir: string, pinned: string): Promise<Marks | null> {
  const copies = await Promise.all(FILES.map((file) => readCopy(join(dir, file))));
  const known = copies.filter((marks) => marks !== null).filter((marks) => marks.pinned === pinned);
  return known.toSorted((a, b) => b.writes - a.writes)[0] ?? null;
}

/** Durable when it returns. */
export function writeMarks(dir: string, marks: Marks): void {
  const digest = digestText(JSON.stringify(marks));
  for (const file of FILES) replaceFile(join(dir, file), `${JSON.stringify({ digest, marks })}\n`);
}

async function readCopy(path: string): Promise<Marks | null> {
  try {
    const { digest, marks } = JSON.parse(await readFile(path, 'utf8')) as { digest: unknown; marks: unknown };
    return check(marks) && digestText(JSON.stringify(marks)) === digest ? marks : null;
  } catch {
    return null;
  }
}
