import { existsSync } from 'node:fs';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import { openBundle } from '../model/bundle/bundle.ts';
import { openFactoryBundle, openNamedBundle } from '../model/slots/active-model.ts';
import type { SlotRef, SlotsState } from '../model/types.ts';
import type { RaiseEvent } from '../store/types.ts';
import type { ChosenBundle } from './served-model.ts';

/** The installed bundles: the bundle in each model slot, and the directory of each bundle. */
export interface InstalledBundles {
  readonly state: SlotsState;
  bundleDir(digest: string): string;
}

export interface BootOptions {
  /**
   * `active`: the `name/version` of the pinned model, which must serve even if the slots name another one; null when no
   * model is pinned.
   */
  readonly model: Pick<Settings['model'], 'active' | 'allowUnsigned'>;
  /** Directory of the bundles that ship with the agent. */
  readonly shippedDir: string;
  /** Directories of bundles that an operator copied there, as `name/version`. */
  readonly installedDirs: readonly string[];
}

export interface BootDeps {
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Called when the model of the active slot did not start. `fellBack`: the agent now tries another model. */
  readonly onStartFailed?: (error: AgentError, fellBack: boolean) => void;
  /** Without it, only the pinned model and the shipped model are used. */
  readonly slots?: InstalledBundles;
}

/** A bundle that may serve (analyse the frames) after boot. */
export interface BootCandidate {
  readonly wanted: string;
  readonly from: 'pinned' | 'active' | 'previous' | 'factory';
  open(signal: AbortSignal): Promise<ChosenBundle>;
}

/** The bundles that may serve after boot, the preferred one first. Remembers which of them is being tried. */
export class Boot {
  readonly #options: BootOptions;
  readonly #deps: BootDeps;
  /** The bundles that have not failed yet. The first of them is being tried. */
  #candidates: readonly BootCandidate[] = [];

  constructor(options: BootOptions, deps: BootDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /**
   * Opens the preferred bundle of the current slots, or the next one that can be opened. Throws when even the last
   * bundle cannot be opened.
   */
  async openBest(signal: AbortSignal): Promise<ChosenBundle> {
    this.#candidates = bootCandidates(this.#options, this.#deps.slots ?? null);
    return this.openNext(signal);
  }

  /** Opens the first of the remaining bundles that can be opened. */
  async openNext(signal: AbortSignal): Promise<ChosenBundle> {
    for (;;) {
      const [next] = this.#candidates;
      if (!next) throw new AgentError('model_not_found', 'no bundle is left to open');
      try {
        return await next.open(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (this.isLast) throw thrown;
        this.giveUp(asAgentError(thrown));
      }
    }
  }

  get isLast(): boolean {
    return this.#candidates.length <= 1;
  }

  /** Call this when the bundle did not start and will be tried again. */
  startFailed(failure: AgentError): void {
    if (this.#candidates[0]?.from === 'active') this.#deps.onStartFailed?.(failure, false);
  }

  /** Call this when the bundle cannot be opened or run: makes the next bundle the one to try. */
  giveUp(failure: AgentError): void {
    const { log, raise, onStartFailed } = this.#deps;
    const [given, next] = this.#candidates;
    this.#candidates = this.#candidates.slice(1);
    const { code, message } = failure;
    const context = { wanted: given?.wanted, code };
    log.error({ ...context, next: next?.wanted, err: failure }, 'cannot use the model, trying the next one');
    raise({ type: 'model_fallback', severity: 'error', code, message, context });
    if (given?.from === 'active') onStartFailed?.(failure, true);
  }
}

/**
 * The bundles to try, in this order: the pinned model if there is one, else the models of the active and the previous
 * slot; the shipped model last. `open` reads every file of the bundle and computes its digest. It rejects as
 * `openBundle` does, with `model_digest_mismatch` when the installed files have changed, and with `model_unsigned` when
 * the bundle is not signed.
 */
export function bootCandidates(
  options: BootOptions,
  slots: InstalledBundles | null,
): readonly BootCandidate[] {
  const { model, shippedDir } = options;
  const { active: pinned } = model;
  const candidates: BootCandidate[] = [];
  const add = (from: 'active' | 'previous', ref: SlotRef | null): void => {
    if (ref === null || slots === null) return;
    const wanted = `${ref.name}/${ref.version}`;
    candidates.push({ from, wanted, open: (signal) => openSlot(ref, slots, options, signal) });
  };
  if (pinned !== null) {
    candidates.push({
      from: 'pinned',
      wanted: pinned,
      open: (signal) => openPinned(pinned, options, slots, signal),
    });
  } else {
    add('active', slots?.state.active ?? null);
    const previous = slots?.state.previous ?? null;
    // The previous slot may name the shipped bundle, which has no installed directory and is tried last in any case.
    if (candidates.length > 0 && previous && existsSync(slots?.bundleDir(previous.digest) ?? ''))
      add('previous', previous);
  }
  candidates.push({
    from: 'factory',
    wanted: 'factory',
    open: async (signal) => ({
      bundle: await openFactoryBundle({ shippedDir, signal }),
      slot: 'factory',
      trusted: true,
    }),
  });
  return candidates;
}

async function openSlot(
  ref: SlotRef,
  slots: InstalledBundles,
  { model: { allowUnsigned } }: BootOptions,
  signal: AbortSignal,
): Promise<ChosenBundle> {
  if (!ref.trusted && !allowUnsigned) throw unsignedError();
  const bundle = await openBundle(slots.bundleDir(ref.digest), { signal });
  if (bundle.digest !== ref.digest)
    throw new AgentError('model_digest_mismatch', 'the files of the installed model have changed', {
      context: { wanted: ref.digest, found: bundle.digest },
    });
  return { bundle, slot: 'active', trusted: ref.trusted };
}

/**
 * Searches the pinned bundle in the slots, then among the shipped models, then in the directories for unsigned models.
 */
async function openPinned(
  pinned: string,
  options: BootOptions,
  slots: InstalledBundles | null,
  signal: AbortSignal,
): Promise<ChosenBundle> {
  const { shippedDir, installedDirs } = options;
  const installed = [slots?.state.active, slots?.state.previous].find(
    (ref) => ref && `${ref.name}/${ref.version}` === pinned,
  );
  if (slots && installed) {
    // The slot may name the shipped bundle, which has no installed directory.
    const chosen = await openSlot(installed, slots, options, signal).catch(nullIfNotFound);
    if (chosen) return chosen;
  }
  const shipped = await openNamedBundle(pinned, [shippedDir], { signal }).catch(nullIfNotFound);
  if (shipped) return { bundle: shipped, slot: 'factory', trusted: true };
  if (!options.model.allowUnsigned) throw unsignedError();
  const bundle = await openNamedBundle(pinned, installedDirs, { signal });
  return { bundle, slot: 'active', trusted: false };
}

function nullIfNotFound(thrown: unknown): null {
  if (thrown instanceof AgentError && thrown.code === 'model_not_found') return null;
  throw thrown;
}

const unsignedError = (): AgentError => new AgentError('model_unsigned', 'the requested model is not signed');
