import { AgentError } from '../../base/errors.ts';
import type { CalibrationSummary, Observation } from '../../contract/observation.ts';
import type { ObservationPage } from '../../store/types.ts';
import { formatCalibration, formatObservation } from '../format.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { AgentClient, type AgentOptions, type AgentRequest } from './client.ts';

const CAPTURE_TIMEOUT_S = 310;
/** Number of pages of observations that are searched for the camera of a label. */
const MAX_SEARCH_PAGES = 5;
const SEARCH_PAGE_SIZE = 1000;

/** `capture CAMERA`: makes one observation now. Exits with 1 when it failed. */
export async function captureObservation(
  camera: string,
  options: AgentOptions,
  terminal: Terminal,
): Promise<number> {
  const client = new AgentClient(options, terminal);
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/capture`;
  const observation = await client.request<Observation>(path, {
    method: 'POST',
    timeoutS: CAPTURE_TIMEOUT_S,
  });
  terminal.out(options.json === true ? toJson(observation) : formatObservation(observation));
  return observation.status === 'failed' ? EXIT.failed : EXIT.ok;
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
  const client = new AgentClient(options, terminal);
  const page = await client.request<ObservationPage>(`/api/v1/observations?${query.toString()}`);
  if (options.json === true) terminal.out(toJson(page));
  else {
    for (const observation of page.observations) terminal.out(formatObservation(observation));
    if (page.cursor !== null) terminal.err(`more: --cursor ${page.cursor}`);
  }
  return EXIT.ok;
}

export interface LabelOptions extends AgentOptions {
  readonly camera?: string;
  readonly observer?: string;
  readonly note?: string;
  readonly remove?: boolean;
}

/** `label OBSERVATION HEIGHT_M`: sets or removes the height that a person saw. Prints the new state of the calibration. */
export async function labelObservation(
  id: string,
  heightText: string | undefined,
  options: LabelOptions,
  terminal: Terminal,
): Promise<number> {
  const client = new AgentClient(options, terminal);
  const camera = options.camera ?? (await findCamera(id, client));
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

function labelBody(id: string, heightText: string | undefined, options: LabelOptions) {
  const heightM = Number(heightText?.replace(/\s*m$/i, '').replace(',', '.'));
  if (heightText === undefined || heightText.trim() === '' || !Number.isFinite(heightM))
    throw new AgentError('usage', `${JSON.stringify(heightText ?? '')} is not a height in metres`);
  const { observer, note } = options;
  return {
    observation_id: id,
    height_m: heightM,
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
