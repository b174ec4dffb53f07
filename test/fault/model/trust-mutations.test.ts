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

/** Of 32 bits; source: mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a device would build on: the signed part of each role that it kept, and the archive. Signatures are no part of it. */
interface Belief {
  readonly roles: readonly unknown[];
  readonly target: SignedTarget;
}

type Verdict = { readonly code: string } | { readonly belief: Belief };

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;

/** A new device with the true root pinned, which looks at this repository and checks the archive's bytes. */
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
    return { belief: { roles, target } };
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

/** A repository with a rotated timestamp key and one model, and what an honest look at it gives. */
async function honest() {
  const repository = await signedRepository(['heads']);
  await changeRoot(repository.options, [{ kind: 'rotate', role: 'timestamp' }]);
  const scratch = mkdtempSync(join(MEMORY_DIR, 'swellsight-mutations-'));
  onTestFinished(() => rmSync(scratch, { recursive: true, force: true }));
  const tree = await readTree(repository.dir);
  const truth = await verdictOn(tree, scratch, repository.rootFile);
  expect(truth).toHaveProperty('belief');
  return { repository, tree, scratch, truth };
}

it(
  `one flipped bit in any file of a repository changes nothing that is believed (${COUNT} mutations, seed ${SEED})`,
  { timeout: 600_000 },
  async () => {
    const { repository, tree, scratch, truth } = await honest();
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
      const sound = refused
        ? /^model_trust_(root|signature|mismatch)$/.test(verdict.code)
        : isSame(verdict, truth);
      // What another file vouches for byte by byte is never accepted changed.
      if (!sound || (isVouchedFor(path, tree) && !refused)) wrong.push(`${path} bit ${bit}: ${outcome}`);
    }
    expect(wrong, [...tally].map(([key, count]) => `${key} ${count}`).join('\n')).toEqual([]);
    if (COUNT >= paths.length * 20) expect(tally.size).toBeGreaterThan(paths.length);
    if (process.env['SWELLSIGHT_MUTATIONS'] !== undefined)
      console.log([...tally].toSorted().map(([key, count]) => `${String(count).padStart(6)}  ${key}`).join('\n')); // prettier-ignore
  },
);

const isSame = (verdict: Verdict, truth: Verdict): boolean =>
  'belief' in verdict && 'belief' in truth && JSON.stringify(verdict.belief) === JSON.stringify(truth.belief);

/** True for the snapshot and targets that the newest timestamp leads to, and for archives. */
function isVouchedFor(path: string, tree: Tree): boolean {
  const newest = (role: string): string =>
    [...tree.keys()]
      .filter((name) => name.endsWith(`.${role}.json`))
      .toSorted()
      .at(-1) ?? '';
  return path.startsWith('targets/') || path === newest('snapshot') || path === newest('targets');
}

it('the same JSON in other bytes: believed as it was, or refused', async () => {
  const { repository, tree, scratch, truth } = await honest();
  const outcomes: Record<string, string> = {};
  for (const path of [...tree.keys()].filter((name) => name.endsWith('.json'))) {
    const text = JSON.stringify(JSON.parse(Buffer.from(tree.get(path) ?? '').toString()), null, 3);
    const verdict = await verdictOn(new Map(tree).set(path, Buffer.from(text)), scratch, repository.rootFile);
    outcomes[path] = 'code' in verdict ? verdict.code : isSame(verdict, truth) ? 'same' : 'changed';
  }
  expect(outcomes).toEqual({
    // Pinned, or not asked for any more.
    'metadata/1.root.json': 'same',
    'metadata/1.snapshot.json': 'same',
    'metadata/1.targets.json': 'same',
    // Signed, and vouched for by nothing else: the signatures are over what the JSON says.
    'metadata/2.root.json': 'same',
    'metadata/timestamp.json': 'same',
    // Vouched for byte by byte.
    'metadata/2.snapshot.json': 'model_trust_mismatch',
    'metadata/2.targets.json': 'model_trust_mismatch',
  });
});

it('the folder itself, unchanged, is what the honest device sees', async () => {
  const { repository, truth } = await honest();
  const trust = new Trust({
    dir: join(repository.home, 'trust'),
    rootFile: repository.rootFile,
    syncedNowMs: Date.now(),
  });
  await trust.refresh(directorySource(repository.dir), AbortSignal.timeout(20_000));
  expect('belief' in truth && truth.belief.target).toEqual(await trust.target('heads', '1.0.0'));
});
