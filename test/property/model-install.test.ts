import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AgentError, type ErrorCode } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';
import { ModelStarts } from '../../src/model/install/model-starts.ts';
import { INSTALL_PHASES, type InstallPhase } from '../../src/contract/model.ts';
import type { SlotsState } from '../../src/model/types.ts';
import { Disk, FACTORY, InstallWorld, requestOf, type Fate, type Place } from '../fixtures/install.ts';
import { ManualClock } from '../fixtures/manual-clock.ts';

const NAMES = ['alpha', 'beta', 'gamma'] as const;
const PLACES: readonly Place[] = [
  'update',
  'download',
  'verify',
  'open',
  'prove',
  'adopt',
  'analyze',
  'forecast',
  'discard',
  'collect',
];
const CODES: readonly ErrorCode[] = [
  'model_space',
  'model_transfer_failed',
  'model_golden_mismatch',
  'vision_crashed',
  'vision_timeout',
  'internal',
];
const ENDS: readonly InstallPhase[] = ['committed', 'failed', 'rolled_back'];

type Step =
  | {
      readonly do: 'request';
      readonly name: string;
      readonly digest: boolean;
      readonly clear: boolean;
      readonly again: boolean;
    }
  | { readonly do: 'abort' | 'rollback' | 'reload' | 'stop' | 'kill' }
  | { readonly do: 'frames'; readonly count: number }
  | { readonly do: 'failure'; readonly code: ErrorCode }
  | { readonly do: 'pass'; readonly ms: number }
  /** One of the next calls of a port fails, or is where the process dies. */
  | { readonly do: 'fail'; readonly place: Place; readonly code: ErrorCode; readonly skip: number }
  | { readonly do: 'die'; readonly inCalls: number }
  | { readonly do: 'full'; readonly isFull: boolean }
  | { readonly do: 'start'; readonly failures: number };

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: oneOf('request' as const),
      name: oneOf(...NAMES),
      digest: fc.boolean(),
      clear: fc.boolean(),
      again: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: oneOf('abort' as const, 'rollback' as const, 'reload' as const, 'stop' as const, 'kill' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: oneOf('frames' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: oneOf('failure' as const),
      code: oneOf<ErrorCode>('vision_crashed', 'image_corrupt', 'vision_busy'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: oneOf('pass' as const), ms: oneOf(10, 1000, 30_000, 60_000, 700_000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: oneOf('fail' as const),
      place: oneOf(...PLACES),
      code: oneOf(...CODES),
      skip: fc.integer({ min: 0, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: oneOf('die' as const), inCalls: fc.integer({ min: 0, max: 14 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: oneOf('full' as const), isFull: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: oneOf('start' as const), failures: fc.integer({ min: 0, max: 2 }) }),
  },
);

/** An agent that is started anew whenever it died, on the disk that it left. */
class Lives {
  readonly clock = new ManualClock();
  readonly disk = new Disk();
  world!: InstallWorld;
  readonly proved = new Set<string>([FACTORY.digest]);
  dead = false;
  #dieIn: number | null = null;
  #full = false;
  #failures: { place: Place; code: ErrorCode; skip: number }[] = [];
  #requests = 0;

  constructor() {
    this.start(0);
  }

  readonly #fate: Fate = (place, moment, what) => {
    if (place === 'update' && this.dead) throw new AgentError('internal', 'a dead process writes nothing');
    if (this.dead) return new Promise<never>(() => undefined);
    if (place === 'prove' && moment === 'after') this.proved.add(what);
    if (this.#dieIn !== null && --this.#dieIn < 0) {
      this.dead = true;
      if (place === 'update' && moment === 'before')
        throw new AgentError('internal', 'died before the write');
      return place === 'update' ? undefined : new Promise<never>(() => undefined);
    }
    if (moment === 'after') return undefined;
    if (place === 'update' && this.#full) throw new AgentError('model_space', 'full');
    const index = this.#failures.findIndex((one) => one.place === place);
    const failure = this.#failures[index];
    if (!failure) return undefined;
    if (failure.skip > 0) failure.skip -= 1;
    else {
      this.#failures.splice(index, 1);
      // Only a disk's faults are what the slots are refused with.
      throw new AgentError(place === 'update' ? 'model_space' : failure.code, 'so it was decided');
    }
    return undefined;
  };

  /** The agent starts; so many starts of its model fail before one is good. */
  start(failures: number): void {
    this.dead = false;
    this.#dieIn = null;
    const { disk, clock } = this;
    const slots = {
      get state() {
        return disk.slots;
      },
      update: (change: (state: SlotsState) => SlotsState): SlotsState => {
        if (this.#full) throw new AgentError('model_space', 'full');
        disk.slots = change(disk.slots);
        disk.history.push(disk.slots);
        return disk.slots;
      },
    };
    const starts = new ModelStarts({ slots, clock, log: createLog('silent'), raise: () => undefined });
    starts.noteStart();
    for (let n = 0; n < failures; n += 1) starts.noteFailure(new AgentError('vision_crashed', 'gone'), false);
    starts.noteServing();
    this.world = new InstallWorld({ disk, clock, fate: this.#fate }).start();
  }

  kill(): void {
    this.dead = true;
    this.world.stop.abort(new AgentError('internal', 'killed'));
  }

  async act(action: Step): Promise<void> {
    const { world } = this;
    const { installer } = world;
    const ignore = (): void => undefined;
    switch (action.do) {
      case 'request': {
        if (!action.again) this.#requests += 1;
        const id = `00000000-0000-4000-8000-${String(this.#requests).padStart(12, '0')}`;
        const request = requestOf(action.name, { updateId: id, ...(action.digest ? {} : { digest: null }) });
        try {
          void installer.request(request, { clearFailed: action.clear }).serves.catch(ignore);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(AgentError);
        }
        break;
      }
      case 'abort':
        void installer.abort().catch(ignore);
        break;
      case 'rollback':
        void installer.rollback(world.stop.signal).catch(ignore);
        break;
      case 'reload':
        void installer.reload(world.stop.signal).catch(ignore);
        break;
      case 'stop':
        if (!this.dead) await world.end();
        this.start(0);
        break;
      case 'kill':
        this.kill();
        this.start(0);
        break;
      case 'frames':
        await world.frames(action.count);
        break;
      case 'failure':
        await world.frames(1, new AgentError(action.code, 'on this frame'));
        break;
      case 'pass':
        await this.clock.pass(action.ms);
        break;
      case 'fail':
        this.#failures.push({ ...action });
        break;
      case 'die':
        this.#dieIn = action.inCalls;
        break;
      case 'full':
        this.#full = action.isFull;
        break;
      case 'start':
        this.kill();
        this.start(action.failures);
        break;
    }
    await world.settle();
    if (this.dead) {
      this.world.stop.abort(new AgentError('internal', 'dead'));
      this.start(0);
      await this.world.settle();
    }
  }

  /** No more faults: what is in hand comes to its end. */
  async calm(): Promise<void> {
    this.#failures = [];
    this.#dieIn = null;
    this.#full = false;
    for (let round = 0; round < 12; round += 1) {
      await this.world.settle();
      await this.world.frames(3);
      await this.clock.pass(700_000);
    }
  }
}

const servesIn = ({ active }: SlotsState): string => (active ?? FACTORY).digest;

/** What must hold of everything that was ever on the disk. */
function checkHistory(history: readonly SlotsState[], proved: ReadonlySet<string>): void {
  let before: SlotsState | null = null;
  for (const state of history) {
    expect([...proved], 'only what was proved is active').toContain(servesIn(state));
    const [was, is] = [before?.install ?? null, state.install];
    const sameInstall = was !== null && was.updateId === is?.updateId;
    if (is !== null && sameInstall && was.phase !== is.phase) {
      expect(ENDS, 'an end is the end').not.toContain(was.phase);
      const [from, to] = [INSTALL_PHASES.indexOf(was.phase), INSTALL_PHASES.indexOf(is.phase)];
      if (is.phase === 'failed') expect(was.phase).not.toBe('probation');
      else if (is.phase === 'rolled_back') expect(was.phase).toBe('probation');
      // A verified bundle that serves already is committed without a swap.
      else if (is.phase === 'committed') expect(['probation', 'verifying']).toContain(was.phase);
      else if (to < from)
        expect([`${was.phase} ${is.phase}`]).toContainEqual(
          expect.stringMatching(/^(shadow testing|verifying downloading)$/),
        );
      else expect(to - from, `${was.phase} to ${is.phase}`).toBe(1);
      if (is.phase === 'probation') {
        expect(state.refused.map(({ digest }) => digest)).not.toContain(servesIn(state));
        expect(state.previous?.digest, 'what served is the previous').toBe(servesIn(before as SlotsState));
        expect(is.former).toEqual({ active: before?.active, previous: before?.previous });
      }
      if (is.phase === 'rolled_back') {
        expect(state.active).toEqual(was.former?.active);
        expect(state.previous).toEqual(was.former?.previous);
      }
      if (is.phase === 'failed') {
        expect(state.active).toEqual(before?.active);
        expect(state.previous).toEqual(before?.previous);
      }
      if (is.phase === 'failed' || is.phase === 'rolled_back') expect(is.reason).not.toBeNull();
    }
    if (before !== null && !sameInstall && is !== was)
      expect(was === null || ENDS.includes(was.phase), 'one install at a time').toBe(true);
    before = state;
  }
}

describe('installs under random requests, failures and ends of the process', () => {
  it('always leave a proved model, and end', async () => {
    const phases = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const lives = new Lives();
        for (const one of steps) {
          await lives.act(one);
          const { active, previous } = lives.disk.slots;
          for (const ref of [active, previous])
            expect([...lives.disk.bundles.keys()], 'the bundles of the slots are there').toContain(
              ref?.digest ?? FACTORY.digest,
            );
        }
        await lives.calm();
        checkHistory(lives.disk.history, lives.proved);
        const { world, disk } = lives;
        if (disk.slots.install !== null) {
          expect(ENDS).toContain(disk.slots.install.phase);
          phases.set(disk.slots.install.phase, (phases.get(disk.slots.install.phase) ?? 0) + 1);
        }
        expect(disk.slots.candidate).toBeNull();
        expect(world.host.bundle?.digest, 'what the slots say serves').toBe(servesIn(disk.slots));
        expect([...world.host.open], 'no candidate is left running').toEqual([]);
        expect(world.host.listeners).toBe(0);
        await world.end();
      }),
      { numRuns: Number(process.env['INSTALL_RUNS'] ?? 150) },
    );
    // The walk really goes everywhere.
    expect([...phases.keys()].sort()).toEqual(['committed', 'failed', 'rolled_back']);
  });
});
