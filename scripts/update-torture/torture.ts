import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { syncDirectory } from '../../src/base/atomic-file.ts';
import type { InstalledVersion, UpdateRequest, UpdaterState } from '../../src/contract/update-files.ts';
import { versionPath, type UpdaterPaths } from '../../src/updater/paths.ts';
import { checkRelease } from '../../src/updater/release-files.ts';
import {
  copyArchive,
  installFakeVersion,
  packFakeVersion,
  type Behaviour,
  type FakeArchive,
} from '../../test/fixtures/updater/fake-version.ts';
import { ReleaseRepository } from '../../test/fixtures/updater/releases.ts';
import { PowerDisk } from '../torture/power/disk.ts';
import { SeededRandom } from '../torture/random.ts';
import { Board } from './board.ts';

export interface UpdateTortureOptions {
  readonly seed: number;
  readonly cuts: number;
}

export interface UpdateTortureReport {
  readonly seed: number;
  readonly cuts: number;
  /** Cuts by what the updater had written at that moment. */
  readonly cutsIn: Readonly<Record<string, number>>;
  /** Ends of updates by the behaviour of the version. */
  readonly ends: Readonly<Record<string, number>>;
  readonly starts: number;
  readonly seconds: number;
  readonly faults: readonly string[];
}

interface TestVersion {
  readonly archive: FakeArchive;
  readonly behaviour: Behaviour;
}

const FACTORY = '1.0.0';
/** Seconds of the board, which run sixty times as fast. */
const TRIAL_S = 180;
const MAX_WAIT_MS = 60_000;
const POLL_MS = 10;
/** What state.json shows before a cut. */
const MOMENTS = [
  'idle',
  'verifying',
  'unpacking',
  'preflight',
  'switching',
  'probation',
  'probation',
] as const;
type Moment = (typeof MOMENTS)[number] | 'returning';

/** Cuts the power of a board at random moments of updates to good, bad and hanging versions. */
export class UpdateTorture {
  readonly #options: UpdateTortureOptions;
  readonly #print: (line: string) => void;
  readonly #random: SeededRandom;
  readonly #faults: string[] = [];
  readonly #ends: Record<string, number> = {};
  readonly #cutsIn: Record<string, number> = {};
  readonly #dir = mkdtempSync(join(tmpdir(), 'swellsight-update-torture-'));
  #cuts = 0;
  #starts = 0;

  constructor(options: UpdateTortureOptions, print: (line: string) => void) {
    this.#options = options;
    this.#print = print;
    this.#random = new SeededRandom(options.seed);
  }

  async run(): Promise<UpdateTortureReport> {
    const startedMs = performance.now();
    const repository = await ReleaseRepository.create();
    const disk = PowerDisk.open();
    // The preflight runs as another user.
    chmodSync(dirname(disk.path), 0o755);
    const paths: UpdaterPaths = {
      root: join(disk.path, 'opt'),
      state: join(disk.path, 'state'),
      requests: join(disk.path, 'agent/update'),
      run: join(this.#dir, 'run'),
      rootFile: repository.rootFile,
      config: join(this.#dir, 'swellsight.yaml'),
    };
    const board = new Board({ paths, scratchDir: this.#dir });
    try {
      const versions = await this.#makeVersions(repository);
      for (const dir of [paths.root, paths.state, paths.requests]) mkdirSync(dir, { recursive: true });
      const factory = installFakeVersion(paths.root, { version: FACTORY });
      symlinkSync(versionPath(factory), join(paths.root, 'current'));
      syncDirectory(paths.root);
      board.boot();
      for (const version of versions) {
        if (this.#cuts >= this.#options.cuts || this.#faults.length > 0) break;
        await this.#update(version, { board, disk, paths, repository, factory });
      }
      this.#countStarts(board);
    } finally {
      await board.powerOff();
      disk.close();
      repository.remove();
      rmSync(this.#dir, { recursive: true, force: true });
    }
    return {
      seed: this.#options.seed,
      cuts: this.#cuts,
      cutsIn: this.#cutsIn,
      ends: this.#ends,
      starts: this.#starts,
      seconds: Math.round((performance.now() - startedMs) / 1000),
      faults: this.#faults,
    };
  }

  async #makeVersions(repository: ReleaseRepository): Promise<TestVersion[]> {
    const versions: TestVersion[] = [];
    // About three cuts for each version, and enough versions when there are fewer.
    for (let minor = 1; minor <= this.#options.cuts + 2; minor += 1) {
      const behaviour = this.#random.pick<Behaviour>(['good', 'good', 'good', 'bad', 'bad', 'hanging']);
      const files = { 'dist/data.txt': `${String(this.#random.next())}\n`.repeat(5000) };
      const archive = await packFakeVersion(this.#dir, { version: `1.${String(minor)}.0`, behaviour, files });
      versions.push({ archive, behaviour });
    }
    await repository.publish(versions.map(({ archive }) => archive));
    return versions;
  }

  /** Requests one version, and cuts the power until the update has ended. */
  async #update({ archive, behaviour }: TestVersion, on: Rig): Promise<void> {
    let id = writeRequest(archive, on);
    for (;;) {
      const isCut = this.#cuts < this.#options.cuts && this.#random.chance(0.9);
      const moment = isCut ? this.#random.pick(MOMENTS) : null;
      const isReached = (now: UpdaterState): boolean =>
        hasEnded(now, archive.version) || momentOf(now) === moment;
      let state = await waitFor(on.board, MAX_WAIT_MS, isReached);
      if (state === null) {
        this.#fail(
          `${behaviour} ${archive.version.version} has no result after ${MAX_WAIT_MS / 1000} s`,
          on.board,
        );
        return;
      }
      // Any time after the moment, also after the end of the update.
      if (isCut) await delay(this.#random.pick([0, 20, 100, 400]) * this.#random.next());
      state = on.board.state() ?? state;
      if (hasEnded(state, archive.version) && !(isCut && this.#random.chance(0.5))) {
        await this.#checkEnd(state, archive.version, behaviour, on);
        return;
      }
      if (!isCut) continue;
      await this.#cut(on);
      if (this.#faults.length > 0) return;
      // The agent asks again when its request was lost.
      if (on.board.state()?.last_request !== id && !isRequested(on.paths, id)) id = writeRequest(archive, on);
    }
  }

  async #cut({ board, disk, paths, factory }: Rig): Promise<void> {
    const state = board.state();
    const moment = state === null ? 'idle' : momentOf(state);
    this.#cutsIn[moment] = (this.#cutsIn[moment] ?? 0) + 1;
    disk.cut();
    await board.powerOff();
    disk.restore();
    this.#cuts += 1;
    this.#countStarts(board);
    await this.#checkDisk(board, paths, factory);
    board.boot();
  }

  #countStarts(board: Board): void {
    this.#starts += board.starts.length;
    for (const { version, isBanned } of board.starts)
      if (isBanned) this.#fail(`${version} was started although it is banned`, board);
  }

  /** After a power cut, before anything runs: the link leads to a complete version that is not banned. */
  async #checkDisk(board: Board, { root }: UpdaterPaths, factory: InstalledVersion): Promise<void> {
    const state = board.state();
    const target = readlinkSync(join(root, 'current'));
    const versions = [state?.running, state?.last_good, state?.factory, state?.trial?.former, factory].filter(
      (version) => version !== undefined && version !== null,
    );
    for (const version of versions) {
      const isLinked = versionPath(version) === target;
      try {
        await checkRelease(join(root, versionPath(version)), version);
      } catch (error) {
        // While a version is switched, the state may name it before the link does; but it is complete then too.
        this.#fail(
          `${version.version}${isLinked ? ', which is linked,' : ''} is not complete: ${String(error)}`,
          board,
        );
      }
    }
    const banned = state?.banned.find((ban) => versionPath(ban) === target);
    if (banned) this.#fail(`the link leads to ${banned.version}, which is banned`, board);
  }

  /** After an update: the right version runs. */
  async #checkEnd(
    state: UpdaterState,
    version: InstalledVersion,
    behaviour: Behaviour,
    { board }: Rig,
  ): Promise<void> {
    const { status = '', code = null } = state.last_result ?? {};
    const end = `${behaviour}: ${status}${code === null ? '' : ` ${code}`}`;
    this.#ends[end] = (this.#ends[end] ?? 0) + 1;
    const isBanned = state.banned.some(({ digest }) => digest === version.digest);
    if (status === 'committed' && behaviour !== 'good')
      this.#fail(`${version.version} is ${behaviour}, but committed`, board);
    if (status === 'returned' && !isBanned)
      this.#fail(`${version.version} has returned, but is not banned`, board);
    const runs = await waitFor(board, MAX_WAIT_MS, ({ running }) =>
      running.digest.startsWith(board.starts.at(-1)?.digest ?? '-'),
    );
    if (runs === null) this.#fail(`the service does not run ${state.running.version}`, board);
    if (isBanned && state.running.digest === version.digest)
      this.#fail(`${version.version} is banned and runs`, board);
    this.#print(`${this.#cuts} cuts, ${version.version} ${end}`);
  }

  #fail(fault: string, board: Board): void {
    this.#faults.push(fault);
    this.#print(
      `FAULT: ${fault}\n${JSON.stringify(board.state(), null, 1)}\n${board.output.slice(-30).join('\n')}`,
    );
  }
}

interface Rig {
  readonly board: Board;
  readonly disk: PowerDisk;
  readonly paths: UpdaterPaths;
  readonly repository: ReleaseRepository;
  readonly factory: InstalledVersion;
}

async function waitFor(
  board: Board,
  ms: number,
  isTrue: (state: UpdaterState) => boolean,
): Promise<UpdaterState | null> {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) {
    const state = board.state();
    if (state && isTrue(state)) return state;
    await delay(POLL_MS);
  }
  return null;
}

const momentOf = ({ working, trial }: UpdaterState): Moment => working?.step ?? trial?.phase ?? 'idle';

const hasEnded = ({ trial, last_result }: UpdaterState, { digest }: InstalledVersion): boolean =>
  trial === null && last_result?.digest === digest;

function isRequested({ requests }: UpdaterPaths, id: string): boolean {
  try {
    return readFileSync(join(requests, 'request.json'), 'utf8').includes(id);
  } catch {
    return false;
  }
}

/** Writes what the agent writes; each file is on the disk before the request is. */
function writeRequest({ file, release, version }: FakeArchive, { paths, repository }: Rig): string {
  const { requests } = paths;
  copyArchive({ file, release, version }, requests);
  repository.copyMetadata(requests);
  const id = randomUUID();
  const request: UpdateRequest = {
    format: 1,
    id,
    action: 'install',
    version: version.version,
    digest: version.digest,
    archive: `${version.digest}.tar.gz`,
    metadata: 'metadata',
    requested_at: new Date().toISOString(),
    trial_s: TRIAL_S,
  };
  spawnSync('sync', ['--file-system', requests]);
  writeFileSync(join(requests, 'request.part'), JSON.stringify(request), { flush: true });
  renameSync(join(requests, 'request.part'), join(requests, 'request.json'));
  syncDirectory(requests);
  return id;
}
