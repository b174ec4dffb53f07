import type { AgentStatus, CameraView } from '../../contract/openapi/views.ts';
import type { Health } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';
import type { OutboxView } from '../../contract/outbox.ts';
import { formatAge, formatCalibration, formatHeight, formatPeriod, formatTable } from '../format.ts';
import { bad, good, line, warn } from '../line.ts';
import { EXIT, printJson, toJson, type Terminal } from '../terminal.ts';
import type { AgentOptions } from './client.ts';
import { openAgentClient } from './local-client.ts';

/** Schedules without a pause rarely have longer intervals. */
const PAUSE_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** `status`: the agent, its model, broker connection and cameras. */
export async function showStatus(options: AgentOptions, terminal: Terminal): Promise<number> {
  const client = await openAgentClient(options, terminal);
  const found = await client.request<AgentStatus>('/api/v1/status');
  if (options.json === true) return printJson(terminal, found);
  const { cameras } = await client.request<{ cameras: readonly CameraView[] }>('/api/v1/cameras');
  const { info, health, model } = found;
  const { link, inference, outbox, memory, degraded } = health;
  const active = model.active === null ? 'none' : `${model.active.name} ${model.active.version}`;
  const since = (found.link ?? link).connected_since;
  const failure = found.link?.failure ?? null;
  const reason = failure === null ? '' : `: ${failure.message}`;
  const connection = since === null ? `not connected${reason}` : `connected since ${since}`;
  // The heartbeat may be older than the states of the cameras below.
  const ageS = Math.max(0, (Date.now() - Date.parse(health.at)) / 1000);
  const speed = inference.p50_ms === null ? '' : `, ${inference.p50_ms.toFixed(0)} ms per frame`;
  terminal.out(
    formatTable([
      ['state', `${found.status}, for ${formatAge(health.uptime_s + ageS)}`],
      ['device', `${info.site}/${info.device}, agent ${info.agent_version}`],
      ['model', `${active} on ${inference.provider ?? 'no provider'}${speed}`],
      ['broker', `${link.broker ?? 'none'}, ${connection}`],
      ['heartbeat', `${formatAge(ageS)} ago, with outbox, memory and degraded`],
      ['outbox', `${String(outbox.depth)} waiting, ${String(outbox.dropped_total)} dropped`],
      ['memory', `${memory.rss_mb.toFixed(0)} MB, vision ${memory.vision_rss_mb?.toFixed(0) ?? '-'} MB`],
      ['degraded', degraded.length === 0 ? 'no' : degraded.join(', ')],
    ]),
  );
  terminal.out(formatTable(cameras.map(cameraRow)));
  return EXIT.ok;
}

const cameraRow = (camera: CameraView): string[] => [
  `camera ${camera.id}`,
  conditionOf(camera),
  camera.schedule,
  camera.latest === null
    ? 'no observation yet'
    : `${formatHeight(camera.latest)}, ${ageOf(camera.latest)} ago`,
  ...nextSlot(camera),
  formatCalibration(camera.calibration),
  ...(camera.sea_state ? [`${formatPeriod(camera.sea_state)}, ${ageOf(camera.sea_state)} ago`] : []),
];

const ageOf = ({ captured_at: at }: Pick<Observation, 'captured_at'>): string =>
  formatAge((Date.now() - Date.parse(at)) / 1000);

/** When a camera pauses, for example at night: the time of its next observation, in the zone of this terminal. */
function nextSlot({ next_run_at: at }: CameraView): string[] {
  const waitMs = at === null ? 0 : Date.parse(at) - Date.now();
  if (at === null || waitMs < PAUSE_MS) return [];
  const time = new Date(at).toTimeString().slice(0, 5);
  return [`asleep until ${waitMs < DAY_MS ? time : `${at.slice(0, 10)} ${time}`}`];
}

/** `down (code: message)`; the message only when the newest observation failed with the same code. */
function conditionOf({ state: { state, reason }, failure }: CameraView): string {
  if (reason === null) return state;
  return failure?.code === reason ? `${state} (${reason}: ${failure.message})` : `${state} (${reason})`;
}

/** `health`: exits with 0 for ok and degraded, 1 for failed. */
export async function showHealth(options: AgentOptions, terminal: Terminal): Promise<number> {
  const found = await (
    await openAgentClient(options, terminal)
  ).request<{
    status: string;
    missing: string[];
    health: Health;
  }>('/health/detailed', { acceptedStatus: [503] });
  const colour = { ok: good, degraded: warn }[found.status] ?? bad;
  const codes = [...found.missing, ...found.health.degraded];
  if (options.json === true) terminal.out(toJson(found));
  else terminal.out(line`${colour(found.status)}${codes.map((code) => `  ${code}`).join('')}`);
  return found.status === 'failed' ? EXIT.failed : EXIT.ok;
}

/** `outbox`: messages that wait for the broker, and messages that the broker rejected. */
export async function showOutbox(options: AgentOptions, terminal: Terminal): Promise<number> {
  const found = await (await openAgentClient(options, terminal)).request<OutboxView>('/api/v1/outbox');
  if (options.json === true) return printJson(terminal, found);
  const { depth, oldest_age_s, dropped_total, next, rejected } = found;
  const waiting = depth === 0 ? '0' : `${String(depth)}, the oldest for ${formatAge(oldest_age_s)}`;
  terminal.out(
    formatTable([
      ['waiting', waiting],
      ['dropped', String(dropped_total)],
      ['rejected', String(rejected.count)],
    ]),
  );
  if (next.length > 0)
    terminal.out(
      formatTable(next.map(({ queued_at, topic, seq }) => ['next', queued_at, topic, `#${String(seq)}`])),
    );
  if (rejected.newest.length > 0)
    terminal.out(
      formatTable(
        rejected.newest.map(({ at, topic, seq, reason }) => [
          'rejected',
          at,
          topic,
          `#${String(seq)}`,
          reason,
        ]),
      ),
    );
  return EXIT.ok;
}
