import { AgentError } from '../../base/errors.ts';
import type { CalibrationSummary, CapturedObservation } from '../../contract/observation.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import type { CameraView } from '../../contract/openapi/views.ts';
import type { ObservationPage } from '../../store/types.ts';
import { formatCalibration, formatObservation, formatPeriod } from '../format.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import type { AgentClient, AgentOptions, AgentRequest } from './client.ts';
import { openAgentClient } from './local-client.ts';

const CAPTURE_TIMEOUT_S = 310;
/** The longest clip, and the clip that may run before it. */
const CLIP_TIMEOUT_S = 4510;
/** Number of pages of observations that are searched for the camera of a label. */
const MAX_SEARCH_PAGES = 5;
const SEARCH_PAGE_SIZE = 1000;

export interface CaptureOptions extends AgentOptions {
  readonly seaState?: boolean;
  readonly duration?: string;
}

/** `capture CAMERA`: makes one observation now. Exits with 1 when it failed. */
export async function captureObservation(
  camera: string,
  options: CaptureOptions,
  terminal: Terminal,
): Promise<number> {
  const client = await openAgentClient(options, terminal);
  if (options.seaState === true) return await measureSeaState(camera, options, client, terminal);
  if (options.duration !== undefined) throw new AgentError('usage', '--duration needs --sea-state');
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/capture`;
  const observation = await client.request<CapturedObservation>(path, {
    method: 'POST',
    timeoutS: CAPTURE_TIMEOUT_S,
  });
  const { failure } = observation;
  if (options.json === true) terminal.out(toJson(observation));
  else {
    terminal.out(formatObservation(observation));
    if (failure) terminal.err([`${failure.message} [${failure.code}]`, `  ${failure.hint}`]);
  }
  return observation.status === 'failed' ? EXIT.failed : EXIT.ok;
}

/** `capture CAMERA --sea-state`: measures one clip. A clip without a period is a result. Exits with 1 when it failed. */
async function measureSeaState(
  camera: string,
  { duration, json }: CaptureOptions,
  client: AgentClient,
  terminal: Terminal,
): Promise<number> {
  const query = duration === undefined ? '' : `?durationS=${encodeURIComponent(duration)}`;
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/sea-state${query}`;
  const request = { method: 'POST', timeoutS: CLIP_TIMEOUT_S } as const;
  const record = await client.request<SeaStateRecord>(path, request);
  terminal.out(
    json === true ? toJson(record) : `${record.captured_at}  ${record.camera}  ${formatPeriod(record)}`,
  );
  return record.status === 'failed' ? EXIT.failed : EXIT.ok;
}

export interface ObservationsOptions extends AgentOptions {
  readonly camera?: string;
  readonly from?: string;
  readonly to?: string;
  readonly status?: string;
  readonly limit?: string;
  readonly cursor?: string;
}

/** `observations`: newest first. */
export async function listObservations(options: ObservationsOptions, terminal: Terminal): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ['camera', 'from', 'to', 'status', 'limit', 'cursor'] as const)
    if (options[name] !== undefined) query.set(name, options[name]);
  const client = await openAgentClient(options, terminal);
  const page = await client.request<ObservationPage>(`/api/v1/observations?${query.toString()}`);
  if (page.observations.length === 0 && options.camera !== undefined)
    await checkCamera(options.camera, client);
  if (options.json === true) terminal.out(toJson(page));
  else {
    for (const observation of page.observations) terminal.out(formatObservation(observation));
    if (page.cursor !== null) terminal.err(`more: --cursor ${page.cursor}`);
  }
  return EXIT.ok;
}

/** Throws `camera_unknown`. A camera that was removed may still have observations. */
async function checkCamera(id: string, client: AgentClient): Promise<void> {
  const { cameras } = await client.request<{ cameras: readonly CameraView[] }>('/api/v1/cameras');
  const known = cameras.map((camera) => camera.id);
  if (!known.includes(id))
    throw new AgentError('camera_unknown', `--camera ${id} is unknown; the cameras are ${known.join(', ')}`);
}

export interface LabelOptions extends AgentOptions {
  readonly camera?: string;
  readonly latest?: string;
  readonly observer?: string;
  readonly note?: string;
  readonly unit?: string;
  readonly scale?: string;
  readonly tide?: string;
  readonly remove?: boolean;
}

/** `label OBSERVATION HEIGHT_M`: sets or removes the height that a person saw. Prints the new state of the calibration. */
export async function labelObservation(
  first: string | undefined,
  second: string | undefined,
  options: LabelOptions,
  terminal: Terminal,
): Promise<number> {
  const client = await openAgentClient(options, terminal);
  const { id, camera, heightText } = await findTarget([first, second], options, client);
  const labels = `/api/v1/cameras/${encodeURIComponent(camera)}/labels`;
  const [path, request]: [string, AgentRequest] =
    options.remove === true
      ? [`${labels}?observation_id=${encodeURIComponent(id)}`, { method: 'DELETE' }]
      : [labels, { method: 'POST', body: labelBody(id, heightText, options) }];
  const { calibration } = await client.request<{ calibration: CalibrationSummary }>(path, request);
  terminal.out(
    options.json === true ? toJson({ camera, calibration }) : `${camera}: ${formatCalibration(calibration)}`,
  );
  return EXIT.ok;
}

/** The observation of a label, and the text of its height. With `--latest` there is one argument less. */
async function findTarget(
  [first, second]: readonly [string | undefined, string | undefined],
  { latest, camera }: LabelOptions,
  client: AgentClient,
): Promise<{ readonly id: string; readonly camera: string; readonly heightText: string | undefined }> {
  if (latest === undefined) {
    if (first === undefined) throw new AgentError('usage', 'name an observation, or a camera with --latest');
    return { id: first, camera: camera ?? (await findCamera(first, client)), heightText: second };
  }
  if (second !== undefined) throw new AgentError('usage', '--latest takes the place of the observation');
  const query = new URLSearchParams({ camera: latest, status: 'measured', limit: '1' });
  const { observations } = await client.request<ObservationPage>(`/api/v1/observations?${query.toString()}`);
  const [newest] = observations;
  if (newest) return { id: newest.id, camera: latest, heightText: first };
  await checkCamera(latest, client);
  throw new AgentError('observation_unknown', `camera ${latest} has no measured observation yet`);
}

function labelBody(id: string, heightText: string | undefined, options: LabelOptions) {
  if (heightText === undefined)
    throw new AgentError('usage', 'the height in metres is missing: swellsight label OBSERVATION HEIGHT');
  const [, digits = '', suffix] = /^\s*([\d.,]+)\s*(m|ft)?\s*$/i.exec(heightText) ?? [];
  const height = Number(digits.replace(',', '.'));
  if (digits === '' || !Number.isFinite(height))
    throw new AgentError(
      'usage',
      `${JSON.stringify(heightText)} is not a height in metres or feet, such as 1.4 or 5ft`,
    );
  const { observer, note, scale, tide } = options;
  const unit = options.unit ?? suffix?.toLowerCase();
  const isFaceM = (unit === undefined || unit === 'm') && (scale === undefined || scale === 'face');
  const tideM = Number(tide ?? 0);
  if (!Number.isFinite(tideM)) throw new AgentError('usage', '--tide must be a number of metres');
  return {
    observation_id: id,
    ...(isFaceM ? { height_m: height } : { height, unit: unit ?? 'm', scale: scale ?? 'face' }),
    ...(tide === undefined ? {} : { tide_m: tideM }),
    ...(observer === undefined ? {} : { observer }),
    ...(note === undefined ? {} : { note }),
  };
}

async function findCamera(id: string, client: AgentClient): Promise<string> {
  let cursor: string | null = null;
  for (let page = 0; page < MAX_SEARCH_PAGES; page += 1) {
    const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const found: ObservationPage = await client.request<ObservationPage>(
      `/api/v1/observations?limit=${String(SEARCH_PAGE_SIZE)}${after}`,
    );
    const observation = found.observations.find((one) => one.id === id);
    if (observation) return observation.camera;
    cursor = found.cursor;
    if (cursor === null) break;
  }
  throw new AgentError(
    'observation_unknown',
    'the newest observations do not contain it; name its camera with --camera',
  );
}
