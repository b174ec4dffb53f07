import type { Clock } from '../base/clock.ts';
import { closeAtEnd } from '../base/closing.ts';
import { withDeadline } from '../base/deadline.ts';
import { AgentError, asAgentError, ERROR_CODES } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import type { Camera, Frame } from '../camera/camera.ts';
import type { openCamera } from '../camera/open.ts';
import { isSameSource } from '../config/change.ts';
import type { Configuration } from '../config/configuration.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import { createRedact } from '../config/secret-keys.ts';
import type { CameraTestResult } from '../contract/camera-test.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { ModelServer } from '../serving/model-server.ts';

export interface CameraTestDeps {
  readonly clock: Clock;
  readonly configuration: Pick<Configuration, 'preview'>;
  readonly cameras: Pick<CameraSet, 'runners'>;
  readonly server: Pick<ModelServer, 'lease'>;
  readonly openCamera: typeof openCamera;
}

const MAX_TEST_MS = 30_000;
const MAX_FRAME_WAIT_S = 20;
const IMAGE_WIDTH_PX = 1280;

/** Takes one frame with settings of a camera that are not saved. One test at a time. */
export class CameraTest {
  readonly #deps: CameraTestDeps;
  #isRunning = false;

  constructor(deps: CameraTestDeps) {
    this.#deps = deps;
  }

  /**
   * `candidate` is a camera as in a patch of the configuration. Rejects with `config_locked` and `config_invalid` as a change of
   * the configuration does, with `capture_busy` during another test, and when the signal aborts.
   */
  async run(candidate: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<CameraTestResult> {
    if (this.#isRunning)
      throw new AgentError('capture_busy', 'another camera is being tested', { hint: 'try again' });
    const preview = this.#deps.configuration.preview({ cameras: [candidate] });
    const settings = preview.cameras.find(({ id }) => id === candidate['id']);
    if (!settings) throw new AgentError('config_invalid', 'the settings of a camera are missing');
    this.#isRunning = true;
    using _running = { [Symbol.dispose]: () => void (this.#isRunning = false) };
    const { clock } = this.#deps;
    const startedMs = clock.monoMs();
    const onTimeout = (): AgentError => new AgentError('camera_timeout', 'the test took too long');
    const deadline = { clock, ms: MAX_TEST_MS, signal, onTimeout };
    const outcome = await withDeadline(deadline, (limit) => this.#look(settings, limit)).catch(
      (thrown: unknown) => {
        signal.throwIfAborted();
        return asAgentError(thrown);
      },
    );
    const took_ms = Math.round(clock.monoMs() - startedMs);
    if (!(outcome instanceof AgentError)) return { ok: true, took_ms, ...outcome, problem: null };
    const none = { width_px: null, height_px: null, image: null, notes: [] };
    return { ok: false, took_ms, ...none, problem: describeProblem(outcome, createRedact(preview)) };
  }

  async #look(
    settings: CameraSettings,
    signal: AbortSignal,
  ): Promise<Pick<CameraTestResult, 'width_px' | 'height_px' | 'image' | 'notes'>> {
    const frame = await this.#takeFrame(settings, signal);
    const { roi, privacyMasks } = settings;
    using lease = this.#deps.server.lease();
    const options = { roi, privacyMasks, previewWidthPx: IMAGE_WIDTH_PX, source: 'camera test' };
    const { widthPx, heightPx, quality, preview } = await lease.analyze(frame.bytes, options, signal);
    const notes = [
      ...(quality.reasons.length === 0
        ? []
        : [`observations would be rejected at this moment: ${quality.reasons.join(', ')}`]),
      ...(frame.fault ? [frame.fault.message] : []),
    ];
    const image = preview && `data:image/jpeg;base64,${Buffer.from(preview).toString('base64')}`;
    return { width_px: widthPx, height_px: heightPx, image, notes };
  }

  /** From the running camera, if it has the same source: many cameras accept one connection only. */
  async #takeFrame(settings: CameraSettings, signal: AbortSignal): Promise<Frame> {
    const runner = this.#deps.cameras.runners.get(settings.id);
    if (runner && isSameSource(runner.settings, settings)) return firstFrame(runner.camera, settings, signal);
    const { clock } = this.#deps;
    const camera = await this.#deps.openCamera(settings, { clock, log: createLog('silent') });
    await using _closed = closeAtEnd(() => camera.close());
    return await firstFrame(camera, settings, signal);
  }
}

async function firstFrame(camera: Camera, { timeoutS }: CameraSettings, signal: AbortSignal): Promise<Frame> {
  // A person waits: the first failure is the answer.
  const noRetry = AbortSignal.abort();
  const options = { frames: 1, intervalS: 0, timeoutS: Math.min(timeoutS, MAX_FRAME_WAIT_S), noRetry };
  for await (const frame of camera.capture(options, signal)) return frame;
  throw new AgentError('camera_no_frame', 'the camera returned no frame');
}

/** Without `context.answer`: what a camera answers that is no image may be private. */
function describeProblem(
  { code, message, context, hint }: AgentError,
  redact: (text: string) => string,
): CameraTestResult['problem'] {
  const reason = context['reason'];
  const detail = typeof reason === 'string' ? `${message} (${reason})` : message;
  return { code, title: ERROR_CODES[code].meaning, detail: redact(detail), remedy: redact(hint) };
}
