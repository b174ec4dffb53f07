import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { changeRoot } from '../../../src/model/repository/change-root.ts';
import { directorySource } from '../../../src/model/trust/metadata-source.ts';
import { checkTarget, type SignedTarget } from '../../../src/model/trust/target.ts';
import { Trust } from '../../../src/model/trust/trust.ts';
import { MEMORY_DIR } from '../../fixtures/tuf-signer.ts';
import { readTree, signedRepository, treeSource, type Tree } from '../../fixtures/repository.ts';

/** `SWELLSIGHT_MUTATIONS=2000` is the long form; `SWELLSIGHT_SEED` repeats a run. */
const COUNT = Number(process.env['SWELLSIGHT_MUTATIONS'] ?? 300);
const SEED = Number(process.env['SWELLSIGHT_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** A 32-bit generator. Source: mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a device trusts: the signed part of each stored role, and the target. Signatures are not part of it. */
interface TrustedState {
  readonly roles: readonly unknown[];
  readonly target: SignedTarget;
}

type Verdict = { readonly code: string } | { readonly trusted: TrustedState };

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;

/** The result of a new device that has pinned the real root and verifies this repository with its archive. */
async function verdictOn(tree: Tree, scratch: string, rootFile: string): Promise<Verdict> {
  const signal = AbortSignal.timeout(20_000);
  const dir = mkdtempSync(join(scratch, 'device-'));
  try {
    const trust = new Trust({ dir, rootFile, syncedNowMs: Date.now() });
    await trust.refresh(treeSource(tree), signal);
    const target = await trust.target('heads', '1.0.0');
    const archive = join(dir, 'archive');
    const bytes = tree.get(target.path) ?? new Uint8Array();
    writeFileSync(archive, bytes);
    await checkTarget(archive, bytes.length, target, signal);
    const roles = ROLES.map((role) => {
      const { signed } = JSON.parse(readFileSync(join(dir, `${role}.json`), 'utf8')) as { signed: unknown };
      return signed;
    });
    return { trusted: { roles, target } };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return { code: String(error.code) };
    throw error;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const flip = (bytes: Uint8Array, bit: number): Uint8Array => {
  const flipped = Uint8Array.from(bytes);
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
};

/** A repository with a rotated timestamp key and one model, and the result of a device. */
async function validRepository() {
  const repository = await signedRepository(['heads']);
  await changeRoot(repository.options, [{ kind: 'rotate', role: 'timestamp' }]);
  const scratch = mkdtempSync(join(MEMORY_DIR, 'swellsight-mutations-'));
  onTestFinished(() => rmSync(scratch, { recursive: true, force: true }));
  const tree = await readTree(repository.dir);
  const truth = await verdictOn(tree, scratch, repository.rootFile);
  expect(truth).toHaveProperty('trusted');
  return { repository, tree, scratch, truth };
}

it(
  `a device trusts nothing else when one bit of a file is flipped (${COUNT} mutations, seed ${SEED})`,
  { timeout: 600_000 },
  async () => {
    const { repository, tree, scratch, truth } = await validRepository();
    const random = randomFrom(SEED);
    const paths = [...tree.keys()];
    const tally = new Map<string, number>();
    const wrong: string[] = [];
    for (let index = 0; index < COUNT; index += 1) {
      const path = paths[index % paths.length] ?? '';
      const bytes = tree.get(path) ?? new Uint8Array();
      const bit = Math.floor(random() * bytes.length * 8);
      const verdict = await verdictOn(
        new Map(tree).set(path, flip(bytes, bit)),
        scratch,
        repository.rootFile,
      );
      const refused = 'code' in verdict;
      const outcome = refused ? verdict.code : 'accepted, same meaning';
      const key = `${path.replace(/[0-9a-f]{64}/, '…')}: ${outcome}`;
      tally.set(key, (tally.get(key) ?? 0) + 1);
      const isExpected = refused
        ? /^model_trust_(root|signature|mismatch)$/.test(verdict.code)
        : isSame(verdict, truth);
      // A file whose digest another file signs is never accepted when changed.
      if (!isExpected || (hasSignedDigest(path, tree) && !refused))
        wrong.push(`${path} bit ${bit}: ${outcome}`);
    }
    expect(wrong, [...tally].map(([key, count]) => `${key} ${count}`).join('\n')).toEqual([]);
    if (COUNT >= paths.length * 20) expect(tally.size).toBeGreaterThan(paths.length);
    if (process.env['SWELLSIGHT_MUTATIONS'] !== undefined)
      console.log([...tally].toSorted().map(([key, count]) => `${String(count).padStart(6)}  ${key}`).join('\n')); // prettier-ignore
  },
);

const isSame = (verdict: Verdict, truth: Verdict): boolean =>
  'trusted' in verdict &&
  'trusted' in truth &&
  JSON.stringify(verdict.trusted) === JSON.stringify(truth.trusted);

/** True for the snapshot and targets that the newest timestamp leads to, and for archives. */
function hasSignedDigest(path: string, tree: Tree): boolean {
  const newest = (role: string): string =>
    [...tree.keys()]
      .filter((name) => name.endsWith(`.${role}.json`))
      .toSorted()
      .at(-1) ?? '';
  return path.startsWith('targets/') || path === newest('snapshot') || path === newest('targets');
}

it('accepts other white space only in files whose digest no other file signs', async () => {
  const { repository, tree, scratch, truth } = await validRepository();
  const outcomes: Record<string, string> = {};
  for (const path of [...tree.keys()].filter((name) => name.endsWith('.json'))) {
    const text = JSON.stringify(JSON.parse(Buffer.from(tree.get(path) ?? '').toString()), null, 3);
    const verdict = await verdictOn(new Map(tree).set(path, Buffer.from(text)), scratch, repository.rootFile);
    outcomes[path] = 'code' in verdict ? verdict.code : isSame(verdict, truth) ? 'same' : 'changed';
  }
  expect(outcomes).toEqual({
    // Pinned, or not requested any more.
    'metadata/1.root.json': 'same',
    'metadata/1.snapshot.json': 'same',
    'metadata/1.targets.json': 'same',
    // The signature covers the content of the JSON, not its bytes, and no other file states the digest.
    'metadata/2.root.json': 'same',
    'metadata/timestamp.json': 'same',
    // Another file signs the digest of the bytes.
    'metadata/2.snapshot.json': 'model_trust_mismatch',
    'metadata/2.targets.json': 'model_trust_mismatch',
  });
});

it('gives the same result from the directory as from memory', async () => {
  const { repository, truth } = await validRepository();
  const trust = new Trust({
    dir: join(repository.home, 'trust'),
    rootFile: repository.rootFile,
    syncedNowMs: Date.now(),
  });
  await trust.refresh(directorySource(repository.dir), AbortSignal.timeout(20_000));
  expect('trusted' in truth && truth.trusted.target).toEqual(await trust.target('heads', '1.0.0'));
});
