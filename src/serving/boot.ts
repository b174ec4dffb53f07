import { existsSync } from 'node:fs';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import { openBundle } from '../model/bundle/bundle.ts';
import type { Bundle } from '../model/manifest.ts';
import { resolveActiveModel } from '../model/slots/active-model.ts';
import type { SlotRef, SlotsState } from '../model/types.ts';
import type { RaiseEvent } from '../store/types.ts';
import type { ChosenBundle } from './served-model.ts';

/** The installed bundles: which slot has which, and where each is stored. */
export interface InstalledBundles {
  readonly state: SlotsState;
  bundleDir(digest: string): string;
}

export interface BootOptions {
  /** `active`: `name/version` that must serve whatever the slots contain; null for none. */
  readonly model: Pick<Settings['model'], 'active' | 'allowUnsigned'>;
  readonly shippedDir: string;
  readonly installedDirs: readonly string[];
}

export interface BootDeps {
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** The model of the active slot did not start. `fellBack`: the agent now tries another one. */
  readonly onStartFailed?: (error: AgentError, fellBack: boolean) => void;
  readonly slots?: InstalledBundles;
}

/** A bundle that could serve after boot. */
export interface BootCandidate {
  readonly wanted: string;
  readonly from: 'pinned' | 'active' | 'previous' | 'factory';
  open(signal: AbortSignal): Promise<ChosenBundle>;
}

/** The bundles that could serve after boot, best first, and the one that is being tried. */
export class Boot {
  readonly #options: BootOptions;
  readonly #deps: BootDeps;
  /** The first one is being tried. */
  #candidates: readonly BootCandidate[] = [];

  constructor(options: BootOptions, deps: BootDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Opens the best bundle of the present slots that can be opened. Throws when not even the last one can. */
  async openBest(signal: AbortSignal): Promise<ChosenBundle> {
    this.#candidates = bootCandidates(this.#options, this.#deps.slots ?? null);
    return this.openNext(signal);
  }

  /** Opens the first remaining bundle that can be opened. */
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

  /** The bundle did not start and will be tried again. */
  startFailed(failure: AgentError): void {
    if (this.#candidates[0]?.from === 'active') this.#deps.onStartFailed?.(failure, false);
  }

  /** The bundle cannot be opened or run: moves on to the next one. */
  giveUp(failure: AgentError): void {
    const { log, raise, onStartFailed } = this.#deps;
    const [given, next] = this.#candidates;
    this.#candidates = this.#candidates.slice(1);
    const { code, message } = failure;
    const context = { wanted: given?.wanted, code };
    log.error(
      { ...context, next: next?.wanted, err: failure },
      'model unusable, falling back to the next one',
    );
    raise({ type: 'model_fallback', severity: 'error', code, message, context });
    if (given?.from === 'active') onStartFailed?.(failure, true);
  }
}

/**
 * The bundles to try, in this order: the pinned model, or else the active and the previous slot; last the shipped model.
 * `open` reads and digests every file. It rejects as `openBundle` does, with `model_digest_mismatch` when the installed
 * bytes have changed, and with `model_unsigned` when the bundle is not signed.
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
    // The previous slot may name the factory bundle. That one has no installed directory and is tried last anyway.
    if (candidates.length > 0 && previous && existsSync(slots?.bundleDir(previous.digest) ?? ''))
      add('previous', previous);
  }
  candidates.push({
    from: 'factory',
    wanted: 'factory',
    open: async (signal) => {
      const { bundle } = await resolveActiveModel({ shippedDir, installedDirs: [], active: null, signal });
      return { bundle, slot: 'factory', trusted: true };
    },
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

/** Looks in the slots, then among the shipped models, then in the directories for unsigned models. */
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
    const chosen = await openSlot(installed, slots, options, signal).catch((thrown: unknown) => {
      // A slot may name the factory bundle, which has no installed directory.
      if (thrown instanceof AgentError && thrown.code === 'model_not_found') return null;
      throw thrown;
    });
    if (chosen) return chosen;
  }
  const shipped = await openNamed(pinned, { shippedDir, installedDirs: [] }, signal);
  if (!(shipped instanceof AgentError)) return { bundle: shipped, slot: 'factory', trusted: true };
  if (shipped.code !== 'model_not_found') throw shipped;
  if (!options.model.allowUnsigned) throw unsignedError();
  const found = await openNamed(pinned, { shippedDir, installedDirs }, signal);
  if (found instanceof AgentError) throw found;
  return { bundle: found, slot: 'active', trusted: false };
}

/** The bundle of that name and version, or why it cannot be opened. */
async function openNamed(
  active: string,
  dirs: { readonly shippedDir: string; readonly installedDirs: readonly string[] },
  signal: AbortSignal,
): Promise<Bundle | AgentError> {
  const { bundle, fallback } = await resolveActiveModel({ ...dirs, active, signal });
  return fallback ?? bundle;
}

const unsignedError = (): AgentError => new AgentError('model_unsigned', 'the wanted model is not signed');
