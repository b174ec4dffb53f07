import { existsSync } from 'node:fs';
import type { Settings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import { openBundle } from '../model/bundle/bundle.ts';
import type { Bundle } from '../model/manifest.ts';
import { resolveActiveModel } from '../model/slots/active-model.ts';
import type { SlotRef, SlotsState } from '../model/types.ts';
import type { ChosenBundle } from './served-model.ts';

/** Where the slots stand and their bundles lie. */
export interface Slots {
  readonly state: SlotsState;
  bundleDir(digest: string): string;
}

export interface BootOptions {
  /** `active`: `name/version` that is to serve whatever the slots say; null for none. */
  readonly model: Pick<Settings['model'], 'active' | 'allowUnsigned'>;
  readonly shippedDir: string;
  readonly installedDirs: readonly string[];
}

/** One bundle that could serve. */
export interface BootCandidate {
  readonly wanted: string;
  readonly from: 'pinned' | 'active' | 'previous' | 'factory';
  open(signal: AbortSignal): Promise<ChosenBundle>;
}

/**
 * What is tried at the start, in this order: the pinned model alone, or that of the active slot and the former one; the
 * shipped one last. `open` reads and digests every file: rejects as `openBundle`, and with `model_digest_mismatch` when
 * the bytes are not those that were installed, `model_unsigned` when nobody signed for them.
 */
export function bootCandidates(options: BootOptions, slots: Slots | null): readonly BootCandidate[] {
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
    // The factory bundle may be the former one; it lies elsewhere, and its turn comes anyway.
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
  slots: Slots,
  { model: { allowUnsigned } }: BootOptions,
  signal: AbortSignal,
): Promise<ChosenBundle> {
  if (!ref.trusted && !allowUnsigned) throw unsigned();
  const bundle = await openBundle(slots.bundleDir(ref.digest), { signal });
  if (bundle.digest !== ref.digest)
    throw new AgentError('model_digest_mismatch', 'the installed model is not what was installed', {
      context: { wanted: ref.digest, found: bundle.digest },
    });
  return { bundle, slot: 'active', trusted: ref.trusted };
}

async function openPinned(
  pinned: string,
  options: BootOptions,
  slots: Slots | null,
  signal: AbortSignal,
): Promise<ChosenBundle> {
  const { shippedDir, installedDirs } = options;
  const installed = [slots?.state.active, slots?.state.previous].find(
    (ref) => ref && `${ref.name}/${ref.version}` === pinned,
  );
  if (slots && installed) {
    const chosen = await openSlot(installed, slots, options, signal).catch((thrown: unknown) => {
      // The factory bundle may stand in a slot; it lies elsewhere.
      if (thrown instanceof AgentError && thrown.code === 'model_not_found') return null;
      throw thrown;
    });
    if (chosen) return chosen;
  }
  const shipped = await openNamed(pinned, { shippedDir, installedDirs: [] }, signal);
  if (!(shipped instanceof AgentError)) return { bundle: shipped, slot: 'factory', trusted: true };
  if (shipped.code !== 'model_not_found') throw shipped;
  if (!options.model.allowUnsigned) throw unsigned();
  const found = await openNamed(pinned, { shippedDir, installedDirs }, signal);
  if (found instanceof AgentError) throw found;
  return { bundle: found, slot: 'active', trusted: false };
}

/** The bundle of that name and version, or why it cannot be had. */
async function openNamed(
  active: string,
  dirs: { readonly shippedDir: string; readonly installedDirs: readonly string[] },
  signal: AbortSignal,
): Promise<Bundle | AgentError> {
  const { bundle, fallback } = await resolveActiveModel({ ...dirs, active, signal });
  return fallback ?? bundle;
}

const unsigned = (): AgentError => new AgentError('model_unsigned', 'the wanted model is not signed');
