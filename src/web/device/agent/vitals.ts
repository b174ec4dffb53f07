import type { Health } from '../../../contract/health.ts';
import { degradedText, type HealthArea } from '../../shared/degraded-text.ts';
import { formatBytes, formatDuration } from '../../shared/format.ts';
import type { Tone } from '../../shared/tone.ts';
import { agentText } from './agent-text.ts';

/** One part of the heartbeat in words. */
export interface Vital {
  readonly area: HealthArea;
  readonly tone: Tone;
  readonly sentence: string;
  readonly notes: readonly string[];
  /** Used part of something limited, 0..1; null: there is no such part. */
  readonly used01: number | null;
}

const { vitals: text } = agentText;
/** The worst first. */
const WORST: readonly Tone[] = ['bad', 'warn', 'ok', 'off'];

const megabytes = (mb: number): string => formatBytes(mb * 1e6);
const milliseconds = (ms: number): string =>
  ms < 10 ? `${ms.toFixed(1)}\u00a0ms` : `${ms.toFixed(0)}\u00a0ms`;
const percent = (value: number): string => `${value.toFixed(0)}\u00a0%`;

type Words = Pick<Vital, 'sentence' | 'notes'> & { readonly used01?: number; readonly isUnknown?: boolean };

/** The heartbeat in words. `ageS`: seconds since a time of the agent. */
export function vitalsOf(health: Health, ageS: (at: string) => number): readonly Vital[] {
  const words: readonly (readonly [HealthArea, Words])[] = [
    ['cameras', camerasWords(health)],
    ['model', modelWords(health)],
    ['broker', brokerWords(health, ageS)],
    ['outbox', outboxWords(health)],
    ['disk', diskWords(health)],
    ['memory', memoryWords(health)],
    ['processor', processorWords(health)],
    ['power', powerWords(health)],
    ['clock', clockWords(health)],
    ['agent', agentWords(health)],
  ];
  return words.map(([area, { isUnknown = false, used01 = null, ...rest }]) => ({
    area,
    tone: toneOf(area, health.degraded, isUnknown),
    used01,
    ...rest,
  }));
}

function toneOf(area: HealthArea, degraded: readonly string[], isUnknown: boolean): Tone {
  const tones = degraded.map(degradedText).flatMap((one) => (one.area === area ? [one.tone] : []));
  return WORST.find((tone) => tones.some((one) => one === tone)) ?? (isUnknown ? 'off' : 'ok');
}

/** `bad` when measurements are lost, `warn` when there is something to check. */
export function verdictOf(degraded: readonly string[]): {
  readonly tone: 'ok' | 'warn' | 'bad';
  readonly count: number;
} {
  const tones = degraded.map((code) => degradedText(code).tone);
  const faults = tones.filter((tone) => tone === 'bad').length;
  if (faults > 0) return { tone: 'bad', count: faults };
  return { tone: tones.length > 0 ? 'warn' : 'ok', count: tones.length };
}

function camerasWords({ cameras, capture }: Health): Words {
  const up = cameras.filter(({ state }) => state === 'up').length;
  const failures = cameras.reduce((sum, camera) => sum + camera.failures_1h, 0);
  const slowdown = capture?.slowdown ?? 1;
  return {
    sentence: text.cameras(up, cameras.length),
    notes: [text.captureFailures(failures), ...(slowdown > 1 ? [text.slowed(slowdown)] : [])],
    isUnknown: cameras.length === 0 || cameras.some(({ state }) => state === 'starting'),
  };
}

function modelWords({ inference, model }: Health): Words {
  const { provider, p50_ms: p50Ms, p95_ms: p95Ms, failures_1h: failures, restarts } = inference;
  const on = provider === null ? [] : [text.on(provider)];
  return {
    sentence:
      model.name === null ? text.noModel : p50Ms === null ? text.noReads : text.reads(milliseconds(p50Ms)),
    notes: [
      ...on,
      ...(p95Ms === null ? [] : [text.slowest(milliseconds(p95Ms))]),
      text.captureFailures(failures),
      ...(restarts > 0 ? [text.restarts(restarts)] : []),
    ],
    isUnknown: model.name === null || p50Ms === null,
  };
}

function brokerWords({ link }: Health, ageS: (at: string) => number): Words {
  const rtt = link.rtt_ms === null ? null : milliseconds(link.rtt_ms);
  return {
    sentence:
      link.connected_since === null
        ? text.notConnected
        : text.connected(formatDuration(ageS(link.connected_since)), rtt),
    notes: [...(link.broker === null ? [] : [link.broker]), text.reconnects(link.reconnects_1h)],
    isUnknown: link.connected_since === null,
  };
}

function outboxWords({ outbox }: Health): Words {
  return {
    sentence: text.outbox(outbox.depth),
    notes: [
      ...(outbox.depth > 0 && outbox.oldest_age_s !== null
        ? [text.oldest(formatDuration(outbox.oldest_age_s))]
        : []),
      outbox.dropped_total > 0 ? text.dropped(outbox.dropped_total) : text.noneDropped,
    ],
  };
}

function diskWords({ disk }: Health): Words {
  const { used_pct: usedPct, written_mb_day: writtenMb, free_mb: freeMb, life_used_pct: lifePct } = disk;
  const parts = [
    usedPct === null ? text.diskUnknown : text.disk(percent(usedPct)),
    ...(writtenMb === null ? [] : [text.written(megabytes(writtenMb))]),
  ];
  return {
    sentence: parts.join(', '),
    notes: [
      ...(freeMb === null ? [] : [text.free(megabytes(freeMb))]),
      ...(lifePct == null ? [] : [text.life(percent(lifePct))]),
    ],
    ...(usedPct === null ? { isUnknown: true } : { used01: usedPct / 100 }),
  };
}

function memoryWords({ memory }: Health): Words {
  const { rss_mb: agentMb, vision_rss_mb: modelMb, free_mb: freeMb } = memory;
  const used = agentMb + (modelMb ?? 0);
  return {
    sentence: `${text.memory(megabytes(agentMb))}${modelMb === null ? '' : ` ${text.memoryModel(megabytes(modelMb))}`}`,
    notes: [text.free(megabytes(freeMb))],
    used01: used + freeMb > 0 ? used / (used + freeMb) : 0,
  };
}

function processorWords({ cpu }: Health): Words {
  return {
    sentence: cpu.temp_c === null ? text.temperatureUnknown : `${cpu.temp_c.toFixed(0)}\u00a0°C`,
    notes: [text.load(cpu.load1.toFixed(1)), ...(cpu.throttled === true ? [text.throttled] : [])],
    isUnknown: cpu.temp_c === null,
  };
}

function powerWords({ power }: Health): Words {
  const low = power?.under_voltage ?? null;
  const overloads = power?.over_current_1h ?? null;
  return {
    sentence: low === null ? text.powerUnknown : low ? text.voltageLow : text.voltageGood,
    notes: overloads === null ? [] : [text.overCurrent(overloads)],
    isUnknown: low === null,
  };
}

function clockWords({ clock }: Health): Words {
  const offset = clock.offset_ms === null ? null : milliseconds(Math.abs(clock.offset_ms));
  return {
    sentence: clock.synced ? text.synced : text.notSynced,
    notes: offset === null ? [] : [text.offset(offset)],
    isUnknown: !clock.synced,
  };
}

const agentWords = ({ uptime_s: uptimeS, agent_version: version }: Health): Words => ({
  sentence: text.running(formatDuration(uptimeS)),
  notes: [text.version(version)],
});
