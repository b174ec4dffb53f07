import { withAbort } from '../../base/abort.ts';
import { isoTime, type Clock } from '../../base/clock.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { asAgentError, type AgentError } from '../../base/errors.ts';
import { systemTimeZone } from '../../base/time-zone.ts';
import type { Configuration } from '../../config/configuration.ts';
import type { DoctorReport } from '../../contract/doctor.ts';
import type { LinkView } from '../../contract/openapi/views.ts';
import type { ClockState } from '../../health/types.ts';
import type { CameraRunner } from '../../observation/camera-runner.ts';
import type { ModelServer } from '../../serving/model-server.ts';
import type { AgentState } from '../agent-types.ts';
import {
  failFinding,
  okFinding,
  warnFinding,
  type CheckContext,
  type CheckName,
  type Finding,
} from './finding.ts';
import { linkFindings } from './link.ts';
import { providerFindings } from './providers.ts';

export interface AgentDoctorParts {
  readonly clock: Clock;
  readonly configuration: Pick<Configuration, 'sources' | 'redact'>;
  readonly state: Pick<AgentState, 'settings' | 'hardware' | 'pageUrl'>;
  readonly cameras: { list(): readonly CameraRunner[] };
  readonly server: Pick<ModelServer, 'model' | 'report'>;
  readonly link: () => LinkView;
  readonly time: { state(): ClockState };
}

const MAX_MS = 30_000;
/** A page that asks again and again gets the same report. */
const FRESH_MS = 5_000;

/**
 * What `swellsight doctor` checks, as the running agent sees it: of cameras, model and broker it reports what it knows, because a
 * second connection or process would disturb it. One examination at a time, which all requests share.
 */
export class AgentDoctor {
  readonly #parts: AgentDoctorParts;
  #running: Promise<DoctorReport> | null = null;
  #last: { readonly report: DoctorReport; readonly atMonoMs: number } | null = null;

  constructor(parts: AgentDoctorParts) {
    this.#parts = parts;
  }

  async examine(signal: AbortSignal): Promise<DoctorReport> {
    const { clock } = this.#parts;
    if (this.#last && clock.monoMs() - this.#last.atMonoMs < FRESH_MS) return this.#last.report;
    this.#running ??= this.#examine().finally(() => {
      this.#running = null;
    });
    return await withAbort(this.#running, signal);
  }

  async #examine(): Promise<DoctorReport> {
    const { clock, configuration, state } = this.#parts;
    const findings: Finding[] = [];
    const context = { settings: state.settings, signal: deadlineSignal(MAX_MS) };
    for (const [name, check] of await this.#checks(context)) {
      try {
        for await (const finding of check()) findings.push(finding);
      } catch (thrown) {
        findings.push(failureFinding(name, asAgentError(thrown)));
      }
    }
    const checks = findings.map((finding) => ({
      ...finding,
      detail: configuration.redact(finding.detail),
      mend: finding.mend === null ? null : configuration.redact(finding.mend),
    }));
    const ok = checks.every((finding) => finding.state !== 'fail');
    const report = { ok, at: isoTime(clock.nowMs()), checks };
    this.#last = { report, atMonoMs: clock.monoMs() };
    return report;
  }

  async #checks(
    context: CheckContext,
  ): Promise<readonly (readonly [CheckName, () => Iterable<Finding> | AsyncIterable<Finding>])[]> {
    const machine = await import('./machine.ts');
    const board = await import('./board.ts');
    const { checkGpu } = await import('./gpu.ts');
    const { state, time, link } = this.#parts;
    return [
      ['configuration', () => [this.#configuration()]],
      ['node', machine.checkNode],
      ['hardware', () => (state.hardware ? [machine.hardwareFinding(state.hardware)] : [])],
      ['gpu', () => checkGpu()],
      ['memory', () => board.checkMemory(context)],
      ['power supply', () => board.checkPower(context)],
      ['disk', () => machine.checkDisk(context)],
      ['state', () => board.checkStorage(context)],
      ['journal', () => board.checkJournal(context)],
      ['clock', () => [machine.clockFinding(time.state())]],
      ['hardware clock', () => board.checkRealTimeClock(context)],
      ['time zone', () => [okFinding('time zone', systemTimeZone())]],
      ['ffmpeg', () => machine.checkFfmpeg(context)],
      ['broker', () => linkFindings(link())],
      ['model', () => this.#model()],
      ['camera', () => this.#cameras()],
    ];
  }

  #configuration(): Finding {
    const { remote } = this.#parts.configuration.sources;
    return okFinding(
      'configuration',
      remote.length === 0
        ? 'valid, without remote settings'
        : `valid; by remote command: ${remote.join(', ')}`,
    );
  }

  *#model(): Generator<Finding> {
    const { server, state } = this.#parts;
    const { model, report } = server;
    if (model === null)
      yield failFinding('model', 'no model is loaded', 'see the events and the log of the agent');
    else yield okFinding('model', `${model.name} ${model.version}, ${model.digest.slice(0, 19)}`);
    yield* providerFindings(report?.attempts ?? [], state.settings.inference, state.hardware);
  }

  *#cameras(): Generator<Finding> {
    const cameras = this.#parts.cameras.list();
    if (cameras.length === 0)
      yield warnFinding(
        'camera',
        'no camera is configured',
        'add a camera, unless this agent only analyses uploaded images',
      );
    for (const camera of cameras) yield cameraFinding(camera);
  }
}

function cameraFinding(camera: CameraRunner): Finding {
  const check = `camera ${camera.id}` as const;
  const { state, last_frame_age_s: ageS, reason } = camera.state();
  if (camera.failure) return failureFinding(check, camera.failure);
  const age = ageS === null ? 'no frame yet' : `the newest frame is ${Math.round(ageS)} s old`;
  if (state === 'starting' || state === 'up') return okFinding(check, `${state}; ${age}`);
  return warnFinding(
    check,
    `${state}${reason === null || reason === state ? '' : `: ${reason}`}; ${age}`,
    'check the image: clean the lens, or wait for daylight',
  );
}

function failureFinding(check: CheckName, { code, message, context, hint }: AgentError): Finding {
  const reason = context['reason'];
  const detail = typeof reason === 'string' ? `${message} (${reason})` : message;
  return failFinding(check, `${detail} [${code}]`, hint);
}
