import { isoTime } from '../base/clock.ts';
import type {
  InstalledVersion,
  UpdateConfirmation,
  UpdateOutcome,
  UpdateRequest,
  UpdateWaiting,
  UpdaterState,
} from '../contract/update-files.ts';
import { versionPath } from './paths.ts';
import type { Machine } from './platform.ts';
import type { ReadRequest } from './request-directory.ts';
import type { ServiceControl } from './service-control.ts';
import { isBanned, isSameVersion, withBan, writeState } from './state-file.ts';
import {
  decideTrial,
  MAX_STARTS,
  prepareTrial,
  readStarts,
  readTrial,
  readVerdict,
  removeTrial,
  writeDeadline,
  writeTrial,
  type Trial,
  type Verdict,
} from './trial-file.ts';
import type { Versions } from './versions.ts';

export interface TrialsDeps {
  readonly control: ServiceControl;
  readonly machine: Machine;
  readonly versions: Versions;
  readonly log: (message: string, fields?: Readonly<Record<string, unknown>>) => void;
}

/** A board that observes every minute confirms in a tenth of this time. */
const DEFAULT_TRIAL_S = 1800;
/** Criteria that a camera or a network without a fault of the version can leave open. Without them, there is no ban. */
const CRITERIA_OF_SURROUNDINGS: ReadonlySet<string> = new Set(['broker', 'observations']);

/** What the agent has written about the version on trial. */
export interface AgentReports {
  readonly confirmation: UpdateConfirmation | null;
  readonly waiting: UpdateWaiting | null;
}
export const NO_REPORTS: AgentReports = { confirmation: null, waiting: null };

/** Puts a version on trial, and ends the trial. */
export class Trials {
  readonly #dir: string;
  readonly #deps: TrialsDeps;

  constructor({ stateDir }: { readonly stateDir: string }, deps: TrialsDeps) {
    this.#dir = stateDir;
    this.#deps = deps;
  }

  /** Starts the trial of a prepared version. From the first write on, `resume` continues it after a power cut. */
  async begin(request: UpdateRequest, version: InstalledVersion, state: UpdaterState): Promise<UpdaterState> {
    const { machine, versions, log } = this.#deps;
    const trialS = request.trial_s ?? DEFAULT_TRIAL_S;
    const trial: Trial = {
      format: 1,
      id: request.id,
      action: request.action,
      ...version,
      directory: versionPath(version),
      former_version: state.running.version,
      former_digest: state.running.digest,
      former_directory: versionPath(state.running),
      trial_s: trialS,
      boot_id: await machine.bootId(),
      deadline_at_uptime_s: (await machine.uptimeS()) + trialS,
    };
    versions.prepareReturn(state.running);
    prepareTrial(this.#dir, trial.id);
    writeTrial(this.#dir, trial);
    log('trial begins', { id: trial.id, version: trial.version, former: trial.former_version });
    return this.#continue(trial, state);
  }

  /**
   * Continues the trial that is on, if any: decides it when it is confirmed, too late or given up, and acts on the
   * decision. Returns the new state, which is on the disk.
   */
  async resume(state: UpdaterState, reports: AgentReports, request: ReadRequest): Promise<UpdaterState> {
    const trial = await readTrial(this.#dir);
    if (trial === null) return this.#store({ ...state, trial: null }, state);
    const decision = await this.#readDecision(trial, reports, request);
    if (decision === null) return this.#continue(await this.#renewDeadline(trial), state);
    const isWritten = state.trial?.id === trial.id || state.last_result?.id === trial.id;
    let lastRequest = isWritten ? state.last_request : trial.id;
    // A rollback during a trial is handled with the return. After a confirmation it is a request like any other.
    if (decision.kind === 'returned' && request.kind === 'request' && request.request.action === 'rollback')
      lastRequest = request.request.id;
    return this.#end(trial, decision, { ...state, last_request: lastRequest });
  }

  async #readDecision(trial: Trial, reports: AgentReports, request: ReadRequest): Promise<Verdict | null> {
    const decided = await readVerdict(this.#dir, trial);
    if (decided !== null) return decided;
    const wanted = await this.#verdictOf(trial, reports, request);
    return wanted === null ? null : decideTrial(this.#dir, trial, wanted);
  }

  async #verdictOf(
    trial: Trial,
    { confirmation, waiting }: AgentReports,
    request: ReadRequest,
  ): Promise<Verdict | null> {
    const { machine, versions } = this.#deps;
    const { count, inSeveralBoots } = await readStarts(this.#dir, trial);
    // On a full disk, count-start may return without a decision.
    if (count > MAX_STARTS)
      return {
        kind: 'returned',
        code: 'update_crash_loop',
        ban: !inSeveralBoots,
        message: `the version was not confirmed in ${MAX_STARTS} starts`,
      };
    const isStarted = count > 0 && isSameVersion(await versions.current(), trial);
    if (isStarted && confirmation?.trial === trial.id && confirmation.digest === trial.digest)
      return { kind: 'committed' };
    if (request.kind === 'request' && request.request.action === 'rollback') {
      const { reason } = request.request;
      return {
        kind: 'returned',
        code: 'update_rejected',
        ban: reason !== undefined,
        message: reason ? `${reason.code}: ${reason.message}` : 'an operator ended the trial',
      };
    }
    const isLate =
      trial.boot_id === (await machine.bootId()) && (await machine.uptimeS()) >= trial.deadline_at_uptime_s;
    if (!isLate) return null;
    const missing = waiting?.trial === trial.id ? waiting.missing : [];
    const names = missing.length > 0 ? `, waiting for: ${missing.join(', ')}` : '';
    return {
      kind: 'returned',
      code: 'update_deadline',
      ban: missing.length === 0 || missing.some((name) => !CRITERIA_OF_SURROUNDINGS.has(name)),
      message: `not confirmed within ${trial.trial_s} s${names}`,
    };
  }

  /** The uptime starts at 0 with each boot; the number of boots is limited by the number of starts. */
  async #renewDeadline(trial: Trial): Promise<Trial> {
    const bootId = await this.#deps.machine.bootId();
    if (trial.boot_id === bootId) return trial;
    const uptimeS = await this.#deps.machine.uptimeS();
    const renewed = { ...trial, boot_id: bootId, deadline_at_uptime_s: uptimeS + trial.trial_s };
    writeDeadline(this.#dir, renewed);
    return renewed;
  }

  /** Makes sure that the version on trial runs and that its deadline is watched. */
  async #continue(trial: Trial, state: UpdaterState): Promise<UpdaterState> {
    const { control, versions } = this.#deps;
    const { count: starts } = await readStarts(this.#dir, trial);
    const isSwitched = isSameVersion(await versions.current(), trial);
    const phase = starts > 0 && isSwitched ? ('probation' as const) : ('switching' as const);
    const next: UpdaterState = {
      ...state,
      running: { version: trial.version, digest: trial.digest },
      working: null,
      trial: { ...trialView(trial), starts, phase },
      last_request: state.trial?.id === trial.id ? state.last_request : trial.id,
    };
    this.#store(next, state);
    await control.startTrialTimer();
    if (!isSwitched) versions.switchTo(trial);
    // A restart that was interrupted between the switch and the start is repeated.
    if (phase === 'switching') await control.restart();
    return next;
  }

  async #end(trial: Trial, verdict: Verdict, before: UpdaterState): Promise<UpdaterState> {
    const { control, versions, log } = this.#deps;
    const version = { version: trial.version, digest: trial.digest };
    const former = { version: trial.former_version, digest: trial.former_digest };
    const isCommitted = verdict.kind === 'committed';
    const runs = isCommitted ? version : former;
    const wasSwitched = isSameVersion(await versions.current(), runs);
    if (!wasSwitched) await versions.returnTo(runs);
    const at = isoTime(Date.now());
    const outcome: UpdateOutcome = {
      id: trial.id,
      action: trial.action,
      ...version,
      status: isCommitted ? 'committed' : 'returned',
      code: isCommitted ? null : verdict.code,
      message: isCommitted ? `${version.version} is confirmed` : verdict.message,
      at,
    };
    let state: UpdaterState = {
      ...before,
      running: runs,
      last_result: outcome,
      trial: null,
      working: null,
      last_good: isCommitted ? formerGood(trial, former, before) : withoutVersion(before.last_good, former),
    };
    if (!isCommitted && verdict.ban) state = withBan(state, version, verdict.code, at);
    // The trial of a rollback may have failed.
    if (state.last_good !== null && isBanned(state, state.last_good.digest))
      state = { ...state, last_good: null };
    try {
      writeState(this.#dir, state);
    } catch (error) {
      // The failed version must not run on because the disk is full. The next run records the end.
      if (!wasSwitched) await control.restart();
      throw error;
    }
    log(outcome.status, { ...outcome });
    // count-start has switched back before the start of the former version. In all other cases the failed version may run.
    const isStarted = isCommitted || (verdict.code === 'update_crash_loop' && wasSwitched);
    if (!isStarted) await control.restart();
    removeTrial(this.#dir);
    await control.stopTrialTimer();
    return state;
  }

  #store(next: UpdaterState, before: UpdaterState): UpdaterState {
    if (JSON.stringify(next) !== JSON.stringify(before)) writeState(this.#dir, next);
    return next;
  }
}

/** After an install one can return to the former version; after a rollback, the former version is not wanted. */
function formerGood(
  { action }: Trial,
  former: InstalledVersion,
  { last_good, running }: UpdaterState,
): InstalledVersion | null {
  return action === 'install' ? former : withoutVersion(last_good, running);
}

const withoutVersion = (
  version: InstalledVersion | null,
  other: InstalledVersion,
): InstalledVersion | null => (isSameVersion(version, other) ? null : version);

const trialView = (trial: Trial) => ({
  id: trial.id,
  action: trial.action,
  version: trial.version,
  digest: trial.digest,
  former: { version: trial.former_version, digest: trial.former_digest },
  deadline_at_uptime_s: trial.deadline_at_uptime_s,
});
