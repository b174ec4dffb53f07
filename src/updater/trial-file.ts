import { Type, type Static } from '@sinclair/typebox';
import { readFile, readdir } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { UpdateTrial } from '../contract/update-files.ts';
import { createWithReserve, writeWithReserve } from './reserve.ts';

// A trial is three small files. `trial.json` exists while a trial is on. `starts` counts the starts of the version on trial.
// `verdict-{id}` decides the trial: the updater and the script count-start create it exclusively, so the first one wins, and
// all later steps follow from it. They can be repeated after a power cut at any moment.

const { id, action, version, digest, deadline_at_uptime_s } = UpdateTrial.properties;

const TrialSchema = Type.Object({
  format: Type.Literal(1),
  id,
  action,
  version,
  digest,
  /** Target of the link `current` for the version on trial, and for the former version. */
  directory: Type.String(),
  former_version: version,
  former_digest: digest,
  former_directory: Type.String(),
  trial_s: Type.Number(),
  /** The boot in which the deadline counts. */
  boot_id: Type.String(),
  deadline_at_uptime_s,
});
export type Trial = Static<typeof TrialSchema>;

const isTrial = schemaChecker({ strict: true, validateFormats: false }).compile<Trial>(TrialSchema);

const TRIAL_FILE = 'trial.json';
const STARTS_FILE = 'starts';
const VERDICT_PREFIX = 'verdict-';

export type Verdict =
  | { readonly kind: 'committed' }
  | { readonly kind: 'returned'; readonly code: string; readonly ban: boolean; readonly message: string };

/** The current trial; null without one. */
export async function readTrial(dir: string): Promise<Trial | null> {
  try {
    const trial: unknown = JSON.parse(await readFile(join(dir, TRIAL_FILE), 'utf8'));
    return isTrial(trial) ? trial : null;
  } catch {
    return null;
  }
}

/** Starts a trial, or renews its deadline. One key on each line, because count-start reads the file with sed. */
export function writeTrial(dir: string, trial: Trial): void {
  writeWithReserve(dir, TRIAL_FILE, `${JSON.stringify(trial, null, 2)}\n`);
}

/** How often the version on trial was started. */
export async function readStarts(dir: string, trial: Trial): Promise<number> {
  const text = await readFile(join(dir, STARTS_FILE), 'utf8').catch(() => '');
  const [of, count = ''] = text.trim().split(' ');
  return of === trial.id && /^\d{1,6}$/.test(count) ? Number(count) : 0;
}

/** Decides the trial, unless it is decided already. Returns the decision that counts. */
export async function decideTrial(dir: string, trial: Trial, verdict: Verdict): Promise<Verdict> {
  createWithReserve(dir, VERDICT_PREFIX + trial.id, verdictText(verdict));
  return (await readVerdict(dir, trial)) ?? verdict;
}

/** The decision; null while the trial is open. */
export async function readVerdict(dir: string, trial: Trial): Promise<Verdict | null> {
  const text = await readFile(join(dir, VERDICT_PREFIX + trial.id), 'utf8').catch(() => null);
  if (text === null) return null;
  const [kind, code = 'internal', ban, ...message] = text.trim().split(' ');
  if (kind === 'committed') return { kind };
  return { kind: 'returned', code, ban: ban !== 'keep', message: message.join(' ') };
}

/** Ends the trial. `trial.json` goes first: count-start checks it after it has created a verdict. */
export function removeTrial(dir: string): void {
  rmSync(join(dir, TRIAL_FILE), { force: true });
  syncDirectory(dir);
}

/** Removes the counter and the decisions of former trials. To be called only while no trial is on. */
export async function removeTrialRests(dir: string): Promise<void> {
  const rests = (await readdir(dir)).filter(
    (name) =>
      name === STARTS_FILE || name.startsWith(VERDICT_PREFIX) || name.startsWith(`.${VERDICT_PREFIX}`),
  );
  for (const name of rests) rmSync(join(dir, name), { force: true });
  if (rests.length > 0) syncDirectory(dir);
}

function verdictText(verdict: Verdict): string {
  if (verdict.kind === 'committed') return 'committed\n';
  const message = verdict.message.replaceAll(/\s+/g, ' ').slice(0, 400);
  return `returned ${verdict.code} ${verdict.ban ? 'ban' : 'keep'} ${message}\n`;
}
