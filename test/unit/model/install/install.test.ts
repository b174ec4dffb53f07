import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { ModelStarts } from '../../../../src/model/install/model-starts.ts';
import { createLog } from '../../../../src/base/log.ts';
import {
  bundleOf,
  digestOf,
  FACTORY,
  InstallWorld,
  liveFrame,
  refOf,
  requestOf,
  resultOf,
  type Place,
} from '../../../fixtures/install.ts';

const ALPHA = refOf('alpha');
const BETA = refOf('beta');
const OTHER_ID = '00000000-0000-4000-8000-000000000002';
const NO = { clearFailed: false };

/** Brings a model as far as to probation. */
async function installed(world: InstallWorld, name: string, updateId = crypto.randomUUID()): Promise<void> {
  const { serves } = world.installer.request(requestOf(name, { updateId }), NO);
  await world.settle();
  await world.frames(2);
  await serves;
}

async function committed(world: InstallWorld, name: string): Promise<void> {
  await installed(world, name);
  await world.frames(3);
  await world.clock.pass(60_000);
  expect(world.install?.phase).toBe('committed');
}

const failsAt =
  (place: Place, error: AgentError, moment: 'before' | 'after' = 'before') =>
  (where: Place, when: string): void => {
    if (where === place && when === moment) throw error;
  };

describe('an install', () => {
  it('walks through every phase, each stored and told before it is worked on', async () => {
    const world = new InstallWorld().start();
    const worked: string[] = [];
    world.fate = (place, moment) => {
      if (moment === 'before' && ['download', 'verify', 'prove', 'analyze', 'adopt'].includes(place))
        worked.push(`${place} in ${world.install?.phase ?? ''}, told ${world.phases.at(-1) ?? ''}`);
    };
    const { accepted, serves } = world.installer.request(requestOf('alpha'), NO);
    expect(accepted.phase).toBe('requested');
    await world.settle();
    await world.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY, candidate: null });
    await world.frames(3);
    await world.clock.pass(60_000);
    expect(world.install?.phase).toBe('committed');
    expect(world.phases).toEqual([
      'requested',
      'downloading',
      'verifying',
      'testing',
      'shadow',
      'probation',
      'committed',
    ]);
    expect(worked).toEqual([
      'download in downloading, told downloading',
      'verify in verifying, told verifying',
      'prove in testing, told testing',
      'analyze in shadow, told shadow',
      'analyze in shadow, told shadow',
      'adopt in probation, told probation',
    ]);
    expect(world.eventTypes).toEqual(['model_install_started', 'model_install_committed']);
    expect(world.host.open.size + world.host.listeners).toBe(0);
    await world.end();
  });

  it('tells its progress, each phase at once and within a phase not more often than once a second', async () => {
    const world = new InstallWorld({ shadow: { frames: 5, patienceMs: 60_000 } }).start();
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.frames(5);
    const told = world.progress.map(({ phase, percent }) => `${phase} ${String(percent)}`);
    expect(told).toEqual([
      'requested null',
      'downloading null',
      'downloading 100',
      'verifying null',
      'testing null',
      'shadow 0',
      'shadow 100',
      'probation null',
    ]);
    await world.end();
  });

  it('keeps the former slots while it is on probation, and both after its return', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await installed(world, 'beta');
    expect(world.disk.slots).toMatchObject({ active: BETA, previous: ALPHA });
    await world.frames(1, new AgentError('vision_crashed', 'gone'));
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    expect(world.install).toMatchObject({ phase: 'rolled_back', reason: { code: 'model_probation_failed' } });
    await world.end();
  });
});

describe('requests', () => {
  it('under the id of another install are refused', async () => {
    const world = new InstallWorld().start();
    await installed(world, 'alpha', OTHER_ID);
    expect(() => world.installer.request(requestOf('beta', { updateId: OTHER_ID }), NO)).toThrow(
      expect.objectContaining({ code: 'request_invalid' }),
    );
    await world.end();
  });

  it('are taken one at a time', async () => {
    const world = new InstallWorld().start();
    world.installer.request(requestOf('alpha'), NO);
    expect(() => world.installer.request(requestOf('beta', { updateId: OTHER_ID }), NO)).toThrow(
      expect.objectContaining({ code: 'model_install_busy' }),
    );
    await world.end();
  });

  it('are joined when they come again, while they run and after their end', async () => {
    const world = new InstallWorld().start();
    const first = world.installer.request(requestOf('alpha'), NO);
    const second = world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.frames(2);
    expect(await first.serves).toEqual(await second.serves);
    await expect(world.installer.request(requestOf('alpha'), NO).serves).resolves.toMatchObject({
      phase: 'probation',
    });
    await world.frames(1, new AgentError('vision_timeout', 'too slow'));
    await expect(world.installer.request(requestOf('alpha'), NO).serves).rejects.toMatchObject({
      code: 'model_probation_failed',
    });
    expect(world.eventTypes.filter((type) => type === 'model_install_started')).toHaveLength(1);
    await world.end();
  });

  it('for what serves already succeed at once', async () => {
    const world = new InstallWorld().start();
    const { accepted, serves } = world.installer.request(
      requestOf('factory', { digest: FACTORY.digest }),
      NO,
    );
    expect(accepted.phase).toBe('committed');
    await expect(serves).resolves.toMatchObject({ phase: 'committed' });
    expect(world.disk.slots).toMatchObject({ active: null, previous: null });
    await world.end();
  });

  it('for what serves already end without a swap when only the verification can tell', async () => {
    const world = new InstallWorld().start();
    world.offered.set('factory', FACTORY);
    const { serves } = world.installer.request(requestOf('factory', { digest: null }), NO);
    await expect(serves).resolves.toMatchObject({ phase: 'committed', candidate: { name: 'factory' } });
    expect(world.host.adopted).toEqual([]);
    await world.end();
  });

  it('mend the active model when another one had to take its place at the start', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await committed(world, 'beta');
    await world.end();
    const next = new InstallWorld({ disk: world.disk, clock: world.clock }).start();
    next.host.bundle = bundleOf(ALPHA);
    await installed(next, 'beta');
    expect(next.host.bundle.digest).toBe(BETA.digest);
    expect(next.disk.slots).toMatchObject({ active: BETA, previous: ALPHA });
    await next.end();
  });

  it('are refused while a model is pinned, and so is a rollback', async () => {
    const world = new InstallWorld({ pinned: true });
    const pinned = expect.objectContaining({ code: 'model_pinned' }) as Error;
    expect(() => world.installer.request(requestOf('alpha'), NO)).toThrow(pinned);
    await expect(world.installer.rollback(AbortSignal.timeout(5000))).rejects.toThrow(pinned);
  });

  it('are not begun when they cannot be stored', () => {
    const world = new InstallWorld({ fate: failsAt('update', new AgentError('model_space', 'full')) });
    expect(() => world.installer.request(requestOf('alpha'), NO)).toThrow(
      expect.objectContaining({ code: 'model_space' }),
    );
    expect(world.install).toBeNull();
  });

  it('for another bundle than the one that was verified fail, and nothing is remembered', async () => {
    const world = new InstallWorld().start();
    world.offered.set('alpha', BETA);
    const { serves } = world.installer.request(requestOf('alpha', { digest: null }), NO);
    await expect(serves).rejects.toMatchObject({ code: 'model_trust_mismatch' });
    expect(world.disk.slots.refused).toEqual([]);
    await world.end();
  });
});

describe('a bundle that failed', () => {
  const wrong = new AgentError('model_golden_mismatch', '1.5 is not 1');

  it('is refused from then on, by digest and by name, until that is cleared', async () => {
    const world = new InstallWorld({ fate: failsAt('prove', wrong) }).start();
    await expect(world.installer.request(requestOf('alpha'), NO).serves).rejects.toMatchObject({
      code: 'model_golden_mismatch',
    });
    await world.settle();
    expect(world.install).toMatchObject({
      phase: 'failed',
      reason: { code: 'model_golden_mismatch', message: '1.5 is not 1' },
    });
    expect(world.disk.slots.refused).toMatchObject([{ digest: ALPHA.digest, code: 'model_golden_mismatch' }]);
    for (const digest of [ALPHA.digest, null])
      expect(() => world.installer.request(requestOf('alpha', { updateId: OTHER_ID, digest }), NO)).toThrow(
        expect.objectContaining({ code: 'model_refused_before' }),
      );
    // Other bytes under the same name are another bundle.
    world.fate = () => undefined;
    const mended = { ...ALPHA, digest: digestOf('mended') };
    world.offered.set('alpha', mended);
    const again = requestOf('alpha', { updateId: OTHER_ID, digest: mended.digest });
    const { serves } = world.installer.request(again, NO);
    await world.settle();
    await world.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    await world.end();
  });

  it('is installed when its failure is cleared', async () => {
    const world = new InstallWorld({ fate: failsAt('prove', wrong) }).start();
    await world.installer.request(requestOf('alpha'), NO).serves.catch(() => undefined);
    await world.settle();
    world.fate = () => undefined;
    const request = requestOf('alpha', { updateId: OTHER_ID, digest: null });
    const { serves } = world.installer.request(request, { clearFailed: true });
    expect(world.disk.slots.refused).toEqual([]);
    await world.settle();
    await world.frames(2);
    await expect(serves).resolves.toMatchObject({ phase: 'probation' });
    await world.end();
  });

  it('is recognised after the verification where its digest was not said', async () => {
    const world = new InstallWorld({ fate: failsAt('prove', wrong) }).start();
    await world.installer.request(requestOf('alpha'), NO).serves.catch(() => undefined);
    await world.settle();
    // The same bytes under another version.
    const renamed = { ...ALPHA, version: '2.0.0' };
    world.offered.set('alpha', renamed);
    const request = requestOf('alpha', { updateId: OTHER_ID, version: '2.0.0', digest: null });
    await expect(world.installer.request(request, NO).serves).rejects.toMatchObject({
      code: 'model_refused_before',
    });
    expect(world.disk.slots.refused).toHaveLength(1);
    await world.end();
  });

  it.each([
    ['model_transfer_failed', 'download', false],
    ['model_space', 'download', false],
    ['model_trust_expired', 'verify', false],
    ['model_trust_signature', 'verify', false],
    ['model_requires', 'verify', false],
    ['model_manifest_invalid', 'verify', true],
    ['model_bundle_refused', 'verify', true],
    ['model_golden_mismatch', 'prove', true],
    ['model_out_of_memory', 'prove', true],
    ['vision_crashed', 'prove', true],
    ['vision_timeout', 'prove', true],
    ['vision_output_invalid', 'prove', true],
    ['provider_unavailable', 'prove', false],
    ['vision_crashed', 'analyze', true],
    ['vision_output_invalid', 'forecast', true],
    ['vision_crashed', 'adopt', true],
  ] as const)('with %s in %s is remembered: %s', async (code, place, remembered) => {
    const world = new InstallWorld({ fate: failsAt(place, new AgentError(code, 'so it is')) }).start();
    const { serves } = world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    world.fate = failsAt(place, new AgentError(code, 'so it is'));
    await world.frames(2);
    await expect(serves).rejects.toBeInstanceOf(AgentError);
    await world.settle();
    expect(world.disk.slots.refused.map(({ digest }) => digest)).toEqual(remembered ? [ALPHA.digest] : []);
    expect(world.disk.slots).toMatchObject({ active: null, previous: null, candidate: null });
    expect(world.host.bundle?.digest).toBe(FACTORY.digest);
    expect(world.host.open.size + world.host.listeners).toBe(0);
    expect(world.disk.parts.size).toBe(0);
    await world.end();
  });

  it('that takes too long to prove itself is one', async () => {
    const world = new InstallWorld({ deadlines: { testMs: 5000 } });
    world.fate = async (place) => {
      // The host ends what it started when the signal fires.
      if (place === 'prove') await world.clock.sleep(6000).then(() => undefined);
    };
    world.start();
    const { serves } = world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.clock.pass(6000);
    await expect(serves).rejects.toMatchObject({ code: 'model_candidate_failed' });
    await world.settle();
    expect(world.disk.slots.refused).toHaveLength(1);
    await world.end();
  });
});

describe('shadow', () => {
  it('compares on the next frames that a model sees, one at a time, and stores the report before the swap', async () => {
    const world = new InstallWorld({ shadow: { frames: 3, patienceMs: 60_000 } }).start();
    const release: (() => void)[] = [];
    world.calibrations = [
      {
        camera: 'north',
        labels: 12,
        outcome: 'lost',
        refittedLabels: 0,
        looMaeBeforeM: 0.2,
        looMaeAfterM: null,
      },
      {
        camera: 'south',
        labels: 2,
        outcome: 'kept',
        refittedLabels: 0,
        looMaeBeforeM: null,
        looMaeAfterM: null,
      },
    ];
    world.host.answer = () =>
      resultOf({ waveHeight: { heightM: 1.5, lowM: null, highM: null, coverage: null } }, 20);
    let looks = 0;
    world.fate = (place) => {
      if (place !== 'analyze') return undefined;
      looks += 1;
      return new Promise<void>((resolve) => release.push(resolve));
    };
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    world.host.frame(undefined, liveFrame(resultOf(null)));
    expect(looks).toBe(0);
    for (let n = 0; n < 3; n += 1) {
      world.host.frame();
      world.host.frame();
      await world.settle();
      release.shift()?.();
      await world.settle();
    }
    expect(looks).toBe(3);
    const stored = world.disk.history.filter(({ install }) => install?.phase === 'shadow').at(-1);
    expect(stored?.install?.shadow).toEqual({
      frames: 3,
      failures: 0,
      activeP50Ms: 10,
      candidateP50Ms: 20,
      heightMeanDifferenceM: 0.5,
      heightMaxDifferenceM: 0.5,
      directionDiffers01: null,
      breakingDiffers01: null,
      calibrations: world.calibrations,
    });
    expect(world.events.filter(({ type }) => type === 'model_calibration_lost')).toMatchObject([
      { context: { camera: 'north', labels: 12 }, severity: 'warning' },
    ]);
    expect(world.install?.phase).toBe('probation');
    await world.end();
  });

  it('goes on without frames when patience is over, and says so', async () => {
    const world = new InstallWorld().start();
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.frames(1);
    await world.clock.pass(60_000);
    expect(world.install).toMatchObject({
      phase: 'probation',
      reason: { code: 'model_shadow_short' },
      shadow: { frames: 1 },
    });
    await world.frames(3);
    await world.clock.pass(60_000);
    expect(world.install).toMatchObject({ phase: 'committed', reason: { code: 'model_shadow_short' } });
    await world.end();
  });

  it('fails at the first frame that only the candidate fails on, but not for a bad picture', async () => {
    const world = new InstallWorld().start();
    world.fate = failsAt('analyze', new AgentError('image_corrupt', 'cut off'));
    const { serves } = world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.frames(3);
    expect(world.install?.phase).toBe('shadow');
    world.fate = failsAt('analyze', new AgentError('vision_output_invalid', 'NaN'));
    await world.frames(1);
    await expect(serves).rejects.toMatchObject({ code: 'model_candidate_failed' });
    await world.end();
  });

  it('does without a forecast that cannot be made', async () => {
    const world = new InstallWorld().start();
    world.fate = failsAt('forecast', new AgentError('store_failed', 'no pictures'));
    await installed(world, 'alpha');
    expect(world.install?.shadow?.calibrations).toEqual([]);
    await world.end();
  });
});

describe('probation', () => {
  it('needs both the answers and the minutes', async () => {
    const world = new InstallWorld().start();
    await installed(world, 'alpha');
    await world.frames(3);
    await world.clock.pass(59_000);
    expect(world.install?.phase).toBe('probation');
    await world.clock.pass(1000);
    expect(world.install?.phase).toBe('committed');
    await committedLate();
    await world.end();

    async function committedLate(): Promise<void> {
      await installed(world, 'beta');
      await world.clock.pass(3_600_000);
      expect(world.install?.phase).toBe('probation');
      await world.frames(3);
      expect(world.install?.phase).toBe('committed');
    }
  });

  it.each(['vision_crashed', 'vision_timeout', 'vision_output_invalid', 'model_out_of_memory'] as const)(
    'ends at the first %s: the former model is proved, serves, and the bundle is refused',
    async (code) => {
      const world = new InstallWorld().start();
      await committed(world, 'alpha');
      await installed(world, 'beta');
      await world.frames(2);
      await world.frames(1, new AgentError(code, 'oh'));
      expect(world.host.bundle?.digest).toBe(ALPHA.digest);
      expect(world.disk.slots.refused).toMatchObject([
        { digest: BETA.digest, code: 'model_probation_failed' },
      ]);
      expect(world.events.at(-1)).toMatchObject({
        type: 'model_install_rolled_back',
        severity: 'error',
        code: 'model_probation_failed',
        context: { name: 'beta', phase: 'probation', digest: BETA.digest },
      });
      expect(world.disk.bundles.has(BETA.digest)).toBe(false);
      await world.end();
    },
  );

  it('does not count pictures that are at fault, nor frames that the former model was finishing', async () => {
    const world = new InstallWorld().start();
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    const crash = new AgentError('vision_crashed', 'the old one');
    world.fate = (place, moment) => {
      if (place === 'adopt' && moment === 'before') world.host.frame(crash);
    };
    await world.frames(2);
    world.fate = () => undefined;
    expect(world.install?.phase).toBe('probation');
    await world.frames(20, new AgentError('image_corrupt', 'cut off'));
    expect(world.install?.phase).toBe('probation');
    await world.end();
  });

  it('compares the error rate with the former model from ten frames and three errors on', async () => {
    const slow = new AgentError('vision_busy', 'queue full');
    const world = new InstallWorld({ probation: { observations: 100, minutes: 1 } }).start();
    world.host.errorRate = 0.3;
    await installed(world, 'alpha');
    await world.frames(3, slow);
    await world.frames(7);
    expect(world.install?.phase).toBe('probation');
    await world.frames(1, slow);
    expect(world.install).toMatchObject({ phase: 'rolled_back', reason: { code: 'model_probation_failed' } });
    await world.end();
  });

  it('goes on counting answers and time over restarts', async () => {
    const world = new InstallWorld().start();
    await installed(world, 'alpha');
    await world.frames(2);
    await world.clock.pass(50_000);
    await world.end();
    world.clock.step(86_400_000);
    const next = new InstallWorld({ disk: world.disk, clock: world.clock }).start();
    expect(next.install).toMatchObject({ phase: 'probation', probation: { answers: 2 } });
    await next.clock.pass(9000);
    await next.frames(1);
    expect(next.install?.phase).toBe('probation');
    await next.clock.pass(1000);
    expect(next.install?.phase).toBe('committed');
    await next.end();
  });

  it('takes the shipped model when the former one does not start any more', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await installed(world, 'beta');
    world.fate = (place, moment, what) => {
      if (place === 'prove' && moment === 'before' && what === ALPHA.digest)
        throw new AgentError('model_digest_mismatch', 'the disk');
    };
    await world.frames(1, new AgentError('vision_crashed', 'oh'));
    expect(world.host.bundle?.digest).toBe(FACTORY.digest);
    expect(world.disk.slots).toMatchObject({ active: null, previous: ALPHA });
    expect(world.install?.phase).toBe('rolled_back');
    await world.end();
  });
});

describe('abort', () => {
  it('ends an install in every phase before the swap, and forgives the bundle', async () => {
    for (const place of ['download', 'verify', 'prove', 'analyze'] as const) {
      const world = new InstallWorld().start();
      let ended: Promise<void> = Promise.resolve();
      const { serves } = world.installer.request(requestOf('alpha'), NO);
      world.fate = (where, moment) => {
        if (where !== place || moment !== 'before') return;
        world.fate = () => undefined;
        ended = world.installer.abort();
      };
      await world.settle();
      await world.frames(2);
      await ended;
      await expect(serves).rejects.toMatchObject({ code: 'model_install_aborted' });
      expect(world.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_aborted' } });
      expect(world.disk.slots).toMatchObject({ active: null, candidate: null, refused: [] });
      expect(world.events.at(-1)).toMatchObject({ type: 'model_install_failed', severity: 'info' });
      expect(world.host.open.size + world.host.listeners).toBe(0);
      await world.end();
    }
  });

  it('on probation returns to the former model', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await installed(world, 'beta');
    await world.installer.abort();
    expect(world.install).toMatchObject({ phase: 'rolled_back', reason: { code: 'model_install_aborted' } });
    expect(world.host.bundle?.digest).toBe(ALPHA.digest);
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY, refused: [] });
    await world.end();
  });

  it('says that there is nothing to abort', async () => {
    const world = new InstallWorld().start();
    await expect(world.installer.abort()).rejects.toMatchObject({ code: 'model_install_none' });
    await committed(world, 'alpha');
    await expect(world.installer.abort()).rejects.toMatchObject({ code: 'model_install_none' });
    await world.end();
  });

  it('comes too late for an install that is committed meanwhile', async () => {
    const world = new InstallWorld().start();
    await installed(world, 'alpha');
    let late: Promise<void> = Promise.resolve();
    world.fate = (place, moment, what) => {
      if (place === 'update' && moment === 'before' && what === 'committed')
        (late = world.installer.abort()).catch(() => undefined);
    };
    await world.frames(3);
    await world.clock.pass(60_000);
    await expect(late).rejects.toMatchObject({ code: 'model_install_none' });
    expect(world.host.bundle?.digest).toBe(ALPHA.digest);
    await world.end();
  });
});

describe('rollback', () => {
  const signal = new AbortController().signal;

  it('changes the places of active and previous, and back', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await expect(world.installer.rollback(signal)).resolves.toEqual({
      name: 'factory',
      version: '1.0.0',
      digest: FACTORY.digest,
    });
    expect(world.disk.slots).toMatchObject({ active: null, previous: ALPHA });
    await world.installer.rollback(signal);
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    expect(world.host.bundle?.digest).toBe(ALPHA.digest);
    expect(world.eventTypes.filter((type) => type === 'model_rollback')).toHaveLength(2);
    await world.end();
  });

  it('twice at the same time is one', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    const both = [world.installer.rollback(signal), world.installer.rollback(signal)];
    const [first, second] = await Promise.all(both);
    expect(first).toEqual(second);
    expect(world.host.bundle?.digest).toBe(FACTORY.digest);
    await world.end();
  });

  it('needs something to return to', async () => {
    const world = new InstallWorld().start();
    await expect(world.installer.rollback(signal)).rejects.toMatchObject({ code: 'model_no_previous' });
    await world.end();
  });

  it('ends an install first, and on probation is its return', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await installed(world, 'beta');
    await expect(world.installer.rollback(signal)).resolves.toMatchObject({ name: 'alpha' });
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    world.installer.request(requestOf('gamma'), NO);
    await world.settle();
    expect(world.install?.phase).toBe('shadow');
    await expect(world.installer.rollback(signal)).resolves.toMatchObject({ name: 'factory' });
    expect(world.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_aborted' } });
    await world.end();
  });

  it('takes the shipped model when the former one fails its proof', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    await committed(world, 'beta');
    world.fate = (place, moment, what) => {
      if (place === 'prove' && moment === 'before' && what === ALPHA.digest)
        throw new AgentError('model_golden_mismatch', 'the disk');
    };
    await expect(world.installer.rollback(signal)).resolves.toMatchObject({ name: 'factory' });
    expect(world.disk.slots).toMatchObject({ active: null, previous: BETA });
    await world.end();
  });

  it('changes nothing when it cannot be stored, or when the model does not take over', async () => {
    const world = new InstallWorld().start();
    await committed(world, 'alpha');
    world.fate = failsAt('update', new AgentError('model_space', 'full'));
    await expect(world.installer.rollback(signal)).rejects.toMatchObject({ code: 'model_space' });
    world.fate = failsAt('adopt', new AgentError('vision_crashed', 'gone'));
    await expect(world.installer.rollback(signal)).rejects.toMatchObject({ code: 'vision_crashed' });
    expect(world.disk.slots).toMatchObject({ active: ALPHA, previous: FACTORY });
    expect(world.host.bundle?.digest).toBe(ALPHA.digest);
    expect(world.host.open.size).toBe(0);
    await world.end();
  });
});

describe('reload', () => {
  const signal = new AbortController().signal;

  it('opens the active model once more, also on probation, but not in the midst of an install', async () => {
    const world = new InstallWorld().start();
    await expect(world.installer.reload(signal)).resolves.toMatchObject({ name: 'factory' });
    world.installer.request(requestOf('alpha'), NO);
    await expect(world.installer.reload(signal)).rejects.toMatchObject({ code: 'model_install_busy' });
    await world.settle();
    await world.frames(2);
    await expect(world.installer.reload(signal)).resolves.toMatchObject({ name: 'alpha' });
    expect(world.host.adopted).toEqual([FACTORY.digest, ALPHA.digest, ALPHA.digest]);
    await world.end();
  });

  it('opens the pinned model where one is pinned', async () => {
    const world = new InstallWorld({ pinned: true });
    const pinned = refOf('pinned');
    world.disk.bundles.set(pinned.digest, bundleOf(pinned));
    world.host.bundle = bundleOf(pinned);
    await expect(world.installer.reload(signal)).resolves.toMatchObject({ name: 'pinned' });
    expect(world.host.adopted).toEqual([pinned.digest]);
  });
});

describe('after a restart', () => {
  /** Ends the life of a world in the midst of a place, and begins the next on what is on its disk. */
  async function diesAt(place: Place, moment: 'before' | 'after' = 'before'): Promise<InstallWorld> {
    const world = new InstallWorld();
    const dead = new Promise<never>(() => undefined);
    let died = false;
    world.fate = (where, when, what) => {
      if (died) return dead;
      if (where !== place || when !== moment || (place === 'adopt' && what === FACTORY.digest))
        return undefined;
      died = true;
      return dead;
    };
    world.start();
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    await world.frames(2);
    return new InstallWorld({ disk: world.disk, clock: world.clock });
  }

  it.each([
    ['download', 'downloading', ['verifying', 'testing', 'shadow', 'probation']],
    ['verify', 'verifying', ['verifying', 'testing', 'shadow', 'probation']],
    ['prove', 'testing', ['testing', 'shadow', 'probation']],
    ['analyze', 'shadow', ['shadow', 'testing', 'shadow', 'probation']],
    ['forecast', 'shadow', ['shadow', 'testing', 'shadow', 'probation']],
    ['adopt', 'probation', []],
  ] as const)('that came in %s it goes on from %s', async (place, phase, phases) => {
    const world = await diesAt(place);
    expect(world.install?.phase).toBe(phase);
    world.start();
    await world.settle();
    await world.frames(2);
    expect(world.install?.phase).toBe('probation');
    expect(world.phases).toEqual(phases);
    expect(world.host.bundle?.digest).toBe(ALPHA.digest);
    await world.frames(3);
    await world.clock.pass(60_000);
    expect(world.install?.phase).toBe('committed');
    await world.end();
  });

  it('fetches anew what the power cut tore', async () => {
    const world = await diesAt('verify', 'after');
    world.disk.parts.clear();
    world.start();
    await world.settle();
    await world.frames(2);
    expect(world.install?.phase).toBe('probation');
    await world.end();
  });

  it('gives up a phase that the end of the agent interrupted five times, and forgives the bundle', async () => {
    let world = await diesAt('prove');
    for (let attempt = 0; attempt < 6; attempt += 1) {
      world.fate = (place) => (place === 'prove' ? new Promise<never>(() => undefined) : undefined);
      world.start();
      await world.settle();
      if (world.install?.phase === 'failed') break;
      world = new InstallWorld({ disk: world.disk, clock: world.clock });
    }
    expect(world.install).toMatchObject({ phase: 'failed', reason: { code: 'model_install_interrupted' } });
    expect(world.disk.slots.refused).toEqual([]);
    await world.end();
  });

  it('stops that were asked for do not count against a phase', async () => {
    let world = new InstallWorld().start();
    world.installer.request(requestOf('alpha'), NO);
    await world.settle();
    for (let attempt = 0; attempt < 8; attempt += 1) {
      await world.end();
      world = new InstallWorld({ disk: world.disk, clock: world.clock }).start();
      await world.settle();
    }
    expect(world.install?.phase).toBe('shadow');
    await world.end();
  });

  it('a bundle that is broken on the disk ends the install', async () => {
    const world = await diesAt('prove');
    world.disk.bundles.delete(ALPHA.digest);
    world.start();
    await world.settle();
    expect(world.install).toMatchObject({ phase: 'failed', reason: { code: 'model_not_found' } });
    expect(world.disk.slots.refused).toEqual([]);
    await world.end();
  });

  it('with a pinned model, an install ends, and one on probation is taken back', async () => {
    const world = await diesAt('prove');
    const pinned = new InstallWorld({ disk: world.disk, clock: world.clock, pinned: true }).start();
    await pinned.settle();
    expect(pinned.install).toMatchObject({ phase: 'failed', reason: { code: 'model_pinned' } });
    await pinned.end();

    const other = await diesAt('adopt');
    const late = new InstallWorld({ disk: other.disk, clock: other.clock, pinned: true }).start();
    await late.settle();
    expect(late.install).toMatchObject({ phase: 'rolled_back', reason: { code: 'model_pinned' } });
    expect(late.disk.slots).toMatchObject({ active: null, previous: null, refused: [] });
    expect(late.host.adopted).toEqual([]);
    await late.end();
  });

  describe('a model on probation that does not start', () => {
    function startsOf(world: InstallWorld): ModelStarts {
      const { disk, clock } = world;
      return new ModelStarts({
        slots: {
          get state() {
            return disk.slots;
          },
          update: (change) => (disk.slots = change(disk.slots)),
        },
        clock,
        log: createLog('silent'),
        raise: (event) => world.events.push(event),
      });
    }

    it('is sent back at the third start when two have ended the agent', async () => {
      const world = await diesAt('adopt', 'after');
      startsOf(world).noteStart();
      startsOf(world).noteStart();
      expect(world.disk.slots.active).toEqual(ALPHA);
      startsOf(world).noteStart();
      expect(world.disk.slots).toMatchObject({ active: null, previous: null });
      expect(world.install).toMatchObject({
        phase: 'rolled_back',
        reason: { code: 'model_probation_failed' },
      });
      expect(world.disk.slots.refused).toMatchObject([{ digest: ALPHA.digest }]);
      expect(world.eventTypes).toContain('model_install_rolled_back');
      startsOf(world).noteStart();
      expect(world.eventTypes.filter((type) => type === 'model_install_rolled_back')).toHaveLength(1);
    });

    it('is not counted when it serves', async () => {
      const world = await diesAt('adopt', 'after');
      for (let n = 0; n < 5; n += 1) {
        startsOf(world).noteStart();
        startsOf(world).noteServing();
      }
      expect(world.disk.slots.active).toEqual(ALPHA);
    });

    it('is sent back at the second failure, at once when another is tried, and forgiven what the disk did', async () => {
      const crash = new AgentError('vision_crashed', 'gone');
      const twice = await diesAt('adopt', 'after');
      const starts = startsOf(twice);
      starts.noteStart();
      expect(starts.noteFailure(crash, false)).toBe(false);
      expect(starts.noteFailure(crash, false)).toBe(true);
      expect(starts.noteFailure(crash, false)).toBe(false);
      expect(twice.disk.slots.active).toBeNull();

      const once = await diesAt('adopt', 'after');
      expect(startsOf(once).noteFailure(crash, true)).toBe(true);
      expect(once.disk.slots.refused).toHaveLength(1);

      const torn = await diesAt('adopt', 'after');
      expect(startsOf(torn).noteFailure(new AgentError('model_digest_mismatch', 'torn'), true)).toBe(true);
      expect(torn.install?.reason?.code).toBe('model_digest_mismatch');
      expect(torn.disk.slots.refused).toEqual([]);
    });

    it('is not watched any more: the next install is worked on', async () => {
      const world = await diesAt('adopt', 'after');
      world.start();
      await world.settle();
      expect(startsOf(world).noteFailure(new AgentError('vision_crashed', 'gone'), true)).toBe(true);
      const { serves } = world.installer.request(requestOf('beta', { updateId: OTHER_ID }), NO);
      await world.settle();
      await world.frames(2);
      await expect(serves).resolves.toMatchObject({ phase: 'probation' });
      await world.end();
    });
  });
});

describe('a disk that is full', () => {
  const full = new AgentError('model_space', 'full');

  it.each(['downloading', 'verifying', 'testing', 'shadow', 'probation'])(
    'at %s fails the install; the running model goes on, and the end is stored when there is room',
    async (phase) => {
      const world = new InstallWorld().start();
      let isFull = false;
      world.fate = (place, moment, what) => {
        if (place !== 'update' || moment !== 'before') return;
        isFull ||= what === phase;
        if (isFull) throw full;
      };
      const { serves } = world.installer.request(requestOf('alpha'), NO);
      await world.settle();
      await world.frames(2);
      expect(world.install?.phase).not.toBe('failed');
      world.fate = () => undefined;
      await world.clock.pass(120_000);
      await expect(serves).rejects.toMatchObject({ code: 'model_space' });
      expect(world.install).toMatchObject({ phase: 'failed', reason: { code: 'model_space' } });
      expect(world.host.bundle?.digest).toBe(FACTORY.digest);
      expect(world.disk.slots).toMatchObject({ active: null, refused: [] });
      await world.end();
    },
  );

  it('on probation does not keep a bad model at work', async () => {
    const world = new InstallWorld().start();
    await installed(world, 'alpha');
    world.fate = failsAt('update', full);
    await world.frames(1, new AgentError('vision_crashed', 'oh'));
    expect(world.host.bundle?.digest).toBe(FACTORY.digest);
    expect(world.install?.phase).toBe('probation');
    world.fate = () => undefined;
    await world.clock.pass(120_000);
    expect(world.install?.phase).toBe('rolled_back');
    expect(world.disk.slots).toMatchObject({ active: null, refused: [{ digest: ALPHA.digest }] });
    await world.end();
  });
});
