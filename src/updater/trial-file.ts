import { Type, type Static } from '@sinclair/typebox';
import { existsSync, linkSync, rmSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { errorCode, isDiskFull } from '../base/disk-errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { UpdateTrial } from '../contract/update-files.ts';
import { makeReserve, writeSlot, writeWithReserve } from './reserve.ts';

// The files of a trial. `trial.json` exists while a trial is on, and never changes. `starts` counts the starts of the version
// on trial, `deadline` holds its deadline. `verdict-{id}` decides the trial: the updater and the script count-start each have
// a prepared file and link it to this name, so the first one wins, and all later steps follow from it. They can be repeated
// after a power cut at any moment, and need no space on the disk.

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
const DEADLINE_FILE = 'deadline';
/** The next start returns to the former version; count-start has the same number. */
export const MAX_STARTS = 3;
const VERDICT_PREFIX = 'verdict-';
const preparedVerdict = (trialId: string): string => `.${VERDICT_PREFIX}${trialId}.updater`;

export type Verdict =
  | { readonly kind: 'committed' }
  | { readonly kind: 'returned'; readonly code: string; readonly ban: boolean; readonly message: string };

/** Creates what the end of a trial needs, before the trial begins. Throws the error of a full disk. */
export function prepareTrial(dir: string, trialId: string): void {
  makeReserve(dir);
  for (const name of [
    STARTS_FILE,
    DEADLINE_FILE,
    preparedVerdict(trialId),
    `.${VERDICT_PREFIX}${trialId}.count-start`,
  ])
    writeSlot(join(dir, name), '');
  syncDirectory(dir);
}

/** Starts a trial. One key on each line, because count-start reads the file with sed. */
export function writeTrial(dir: string, trial: Trial): void {
  writeWithReserve(dir, TRIAL_FILE, `${JSON.stringify(trial, null, 2)}\n`);
}

/** The current trial with its present deadline; null without one. */
export async function readTrial(dir: string): Promise<Trial | null> {
  try {
    const trial: unknown = JSON.parse(await readFile(join(dir, TRIAL_FILE), 'utf8'));
    if (!isTrial(trial)) return null;
    const [of, bootId = '', uptimeS = ''] = await readSlot(join(dir, DEADLINE_FILE));
    if (of !== trial.id || !/^\d{1,12}(\.\d{1,9})?$/.test(uptimeS)) return trial;
    return { ...trial, boot_id: bootId, deadline_at_uptime_s: Number(uptimeS) };
  } catch {
    return null;
  }
}

/** Stores the deadline after a reboot. */
export function writeDeadline(dir: string, { id: of, boot_id, deadline_at_uptime_s: uptimeS }: Trial): void {
  writeSlot(join(dir, DEADLINE_FILE), `${of} ${boot_id} ${uptimeS}`);
}

export interface Starts {
  /** How often the version on trial was started. */
  readonly count: number;
  /** Some of the starts came after a reboot, so that a power supply may have caused them. */
  readonly inSeveralBoots: boolean;
}

export async function readStarts(dir: string, trial: Trial): Promise<Starts> {
  const [of, count = '', boot] = await readSlot(join(dir, STARTS_FILE));
  const isValid = of === trial.id && /^\d{1,6}$/.test(count);
  return isValid
    ? { count: Number(count), inSeveralBoots: boot === 'several' }
    : { count: 0, inSeveralBoots: false };
}

/** Decides the trial, unless it is decided already. Returns the decision that counts. */
export async function decideTrial(dir: string, trial: Trial, verdict: Verdict): Promise<Verdict> {
  const path = join(dir, VERDICT_PREFIX + trial.id);
  const own = join(dir, preparedVerdict(trial.id));
  try {
    // The prepared file may be linked to the decision already.
    if (!existsSync(path)) {
      writeSlot(own, verdictText(verdict));
      linkSync(own, path);
      syncDirectory(dir);
    }
  } catch (error) {
    // Returning without a record of it is better than not returning.
    if (errorCode(error) !== 'EEXIST' && !(isDiskFull(error) && verdict.kind === 'returned')) throw error;
  }
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
      name === STARTS_FILE ||
      name === DEADLINE_FILE ||
      name.startsWith(VERDICT_PREFIX) ||
      name.startsWith(`.${VERDICT_PREFIX}`),
  );
  for (const name of rests) rmSync(join(dir, name), { force: true });
  if (rests.length > 0) syncDirectory(dir);
}

function verdictText(verdict: Verdict): string {
  if (verdict.kind === 'committed') return 'committed';
  return `returned ${verdict.code} ${verdict.ban ? 'ban' : 'keep'} ${verdict.message}`;
}

/** The words of a file of fixed size; none when it is missing. */
const readSlot = async (path: string): Promise<string[]> =>
  (await readFile(path, 'utf8').catch(() => '')).trim().split(' ');
