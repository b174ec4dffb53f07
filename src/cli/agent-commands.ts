import type { AgentStatus, CameraView } from '../contract/api.ts';
import type { Health } from '../contract/health.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import { AgentClient, type Ask, type ClientOptions } from './client.ts';
import { agePhrase, calibrationPhrase, heightPhrase, observationLine, table } from './phrases.ts';
import { EXIT, jsonText, paint, type Terminal } from './terminal.ts';

/** Options of every command that speaks to a running agent. */
export interface AgentOptions extends ClientOptions {
  readonly json?: boolean;
}

const CAPTURE_WITHIN_S = 310;
/** So many of the newest observations are looked through for the one that a label names. */
const LABEL_SEARCH_PAGES = 5;
const PAGE = 1000;

interface Page {
  readonly observations: readonly Observation[];
  readonly cursor: string | null;
}

/** `status`: the agent, its model, link and cameras. */
export async function status(options: AgentOptions, terminal: Terminal): Promise<number> {
  const client = new AgentClient(options, terminal);
  const found = await client.ask<AgentStatus>('/api/v1/status');
  if (options.json === true) {
    terminal.out(jsonText(found));
    return EXIT.ok;
  }
  const { cameras } = await client.ask<{ cameras: readonly CameraView[] }>('/api/v1/cameras');
  const { info, health, model } = found;
  const active = model.active === null ? 'none' : `${model.active.name} ${model.active.version}`;
  const { link } = health;
  const connected =
    link.connected_since === null ? 'not connected' : `connected since ${link.connected_since}`;
  const provider = health.inference.provider ?? 'no provider';
  const speed = health.inference.p50_ms === null ? '' : `, ${health.inference.p50_ms.toFixed(0)} ms a frame`;
  terminal.out(
    table([
      ['state', `${found.status}, for ${agePhrase(health.uptime_s)}`],
      ['station', `${info.site}/${info.device}, agent ${info.agent_version}`],
      ['model', `${active} on ${provider}${speed}`],
      ['broker', `${link.broker ?? 'none'}, ${connected}`],
      ['outbox', `${String(health.outbox.depth)} waiting, ${String(health.outbox.dropped_total)} dropped`],
      [
        'memory',
        `${health.memory.rss_mb.toFixed(0)} MB, vision ${health.memory.vision_rss_mb?.toFixed(0) ?? '-'} MB`,
      ],
      ['degraded', health.degraded.length === 0 ? 'no' : health.degraded.join(', ')],
    ]),
  );
  terminal.out(table(cameras.map(cameraRow)));
  return EXIT.ok;
}

const cameraRow = (camera: CameraView): string[] => [
  `camera ${camera.id}`,
  camera.state.reason === null ? camera.state.state : `${camera.state.state} (${camera.state.reason})`,
  camera.schedule,
  camera.latest === null ? 'no observation yet' : heightPhrase(camera.latest),
  calibrationPhrase(camera.calibration),
];

/** `health`: 0 when well or degraded, 1 when failed. */
export async function health(options: AgentOptions, terminal: Terminal): Promise<number> {
  const found = await new AgentClient(options, terminal).ask<{
    status: string;
    missing: string[];
    health: Health;
  }>('/health/detailed', { also: [503] });
  const colours = paint(terminal.colour.out);
  const by = { ok: colours.good, degraded: colours.warn }[found.status] ?? colours.bad;
  const codes = [...found.missing, ...found.health.degraded];
  if (options.json === true) terminal.out(jsonText(found));
  else terminal.out([by(found.status), ...codes].join('  '));
  return found.status === 'failed' ? EXIT.failed : EXIT.ok;
}

/** `capture CAMERA`: one observation now; 1 when it failed. */
export async function capture(camera: string, options: AgentOptions, terminal: Terminal): Promise<number> {
  const client = new AgentClient(options, terminal);
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/capture`;
  const observation = await client.ask<Observation>(path, { method: 'POST', timeoutS: CAPTURE_WITHIN_S });
  terminal.out(options.json === true ? jsonText(observation) : observationLine(observation));
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
export async function observations(options: ObservationsOptions, terminal: Terminal): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ['camera', 'from', 'to', 'status', 'limit', 'cursor'] as const)
    if (options[name] !== undefined) query.set(name, options[name]);
  const page = await new AgentClient(options, terminal).ask<Page>(`/api/v1/observations?${query.toString()}`);
  if (options.json === true) terminal.out(jsonText(page));
  else {
    for (const observation of page.observations) terminal.out(observationLine(observation));
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

/** `label OBSERVATION HEIGHT_M`: a person's reading; prints what the calibration makes of it. */
export async function label(
  id: string,
  heightText: string | undefined,
  options: LabelOptions,
  terminal: Terminal,
): Promise<number> {
  const client = new AgentClient(options, terminal);
  const camera = options.camera ?? (await cameraOf(id, client));
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/labels`;
  const [at, ask]: [string, Ask] =
    options.remove === true
      ? [`${path}?observation_id=${encodeURIComponent(id)}`, { method: 'DELETE' }]
      : [path, { method: 'POST', body: labelBody(id, heightText, options) }];
  const { calibration } = await client.ask<{ calibration: CalibrationSummary }>(at, ask);
  terminal.out(
    options.json === true
      ? jsonText({ camera, calibration })
      : `${camera}: ${calibrationPhrase(calibration)}`,
  );
  return EXIT.ok;
}

function labelBody(id: string, heightText: string | undefined, options: LabelOptions) {
  const height = Number(heightText?.replace(/\s*m$/i, '').replace(',', '.'));
  if (heightText === undefined || heightText.trim() === '' || !Number.isFinite(height))
    throw new AgentError('usage', `${JSON.stringify(heightText ?? '')} is no height in metres`);
  const { observer, note } = options;
  return {
    observation_id: id,
    height_m: height,
    ...(observer === undefined ? {} : { observer }),
    ...(note === undefined ? {} : { note }),
  };
}

async function cameraOf(id: string, client: AgentClient): Promise<string> {
  let cursor: string | null = null;
  for (let page = 0; page < LABEL_SEARCH_PAGES; page += 1) {
    const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const found: Page = await client.ask<Page>(`/api/v1/observations?limit=${String(PAGE)}${after}`);
    const observation = found.observations.find((one) => one.id === id);
    if (observation) return observation.camera;
    cursor = found.cursor;
    if (cursor === null) break;
  }
  throw new AgentError(
    'observation_unknown',
    'it is not among the newest observations; name its camera with --camera',
  );
}
