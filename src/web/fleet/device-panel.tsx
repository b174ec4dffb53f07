import { useEffect, useRef, useState } from 'preact/hooks';
import { formatBytes, formatDuration, formatTime } from '../shared/format.ts';
import { replaceParams } from '../shared/route.ts';
import type { DeviceCondition } from '../../contract/conditions.ts';
import { CameraCard } from './camera-card.tsx';
import { ConditionMark } from './condition-mark.tsx';
import type { FleetDevice } from './device.ts';
import type { Row } from './device-table.ts';
import { snapshot } from './fleet-store.ts';
import { fleetText } from './fleet-text.ts';
import { ownTagsOf, setOwnTags } from './tags.ts';

const texts = fleetText.device;
/** Nothing is known of the cameras of such a device. */
const AWAY: ReadonlySet<DeviceCondition> = new Set(['offline', 'stale', 'stopped', 'unknown']);

/** One device beside the list: what is wrong, its cameras, its health, its events. */
export function DevicePanel({ name }: { readonly name: string }) {
  const row = snapshot.value.rows.find(({ device }) => device.name === name);
  const panel = useRef<HTMLElement>(null);
  useEffect(() => panel.current?.focus(), []);
  const close = (): void => replaceParams({ device: null });
  return (
    <aside
      class="panel card stack"
      ref={panel}
      tabIndex={-1}
      aria-label={texts.label(name)}
      onKeyDown={(event) => {
        if (event.key === 'Escape') close();
      }}
    >
      <div class="panel-head">
        <h2>
          <span class="site">{name.split('/')[0]}</span>
          <span class="of-site">{name.split('/')[1]}</span>
        </h2>
        <button type="button" class="quiet" onClick={close}>
          {texts.close}
        </button>
      </div>
      {row === undefined ? <p class="muted">{fleetText.list.none}</p> : <Content row={row} />}
    </aside>
  );
}

function Content({ row }: { readonly row: Row }) {
  const { device, condition, sinceMs, isSinceKnown } = row;
  const { nowMs } = snapshot.value;
  const zone = device.info?.timeZone ?? 'UTC';
  const cameras = device.cameras(nowMs);
  return (
    <>
      <div class="stack tight">
        <p class="row">
          <ConditionMark condition={condition} />
          {isSinceKnown ? (
            <span class="muted small">
              {texts.since(
                formatTime(sinceMs, zone, { dateStyle: 'medium', timeStyle: 'short' }),
                formatDuration((nowMs - sinceMs) / 1000),
              )}
            </span>
          ) : null}
        </p>
        <p>{fleetText.meanings[condition]}</p>
      </div>
      <Problems device={device} />
      <section class="stack" aria-label={texts.cameras}>
        {cameras.length === 0 ? <p class="muted">{texts.noCameras}</p> : null}
        {cameras.map((camera) => (
          <CameraCard
            key={camera.id}
            device={device}
            camera={camera}
            nowMs={nowMs}
            isPresent={!AWAY.has(condition)}
          />
        ))}
      </section>
      <Facts device={device} />
      <Events device={device} />
      <Tags name={device.name} />
    </>
  );
}

function Problems({ device }: { readonly device: FleetDevice }) {
  const clockErrorMs = device.clockErrorMs;
  const installs = [device.install, device.update].filter((one) => one !== null);
  const lines = [
    // Those of cameras stand at the camera.
    ...(device.heartbeat?.degraded ?? [])
      .filter((code) => !/^camera_/.test(code))
      .map((code) => code.replaceAll('_', ' ')),
    ...device.invalid.map((topic) => texts.invalid(topic)),
    ...(clockErrorMs === null ? [] : [texts.clockWrong(formatDuration(Math.abs(clockErrorMs) / 1000))]),
    ...installs.flatMap(({ name, version, reason }) =>
      reason === null
        ? []
        : [texts.installFailed(`${name ?? ''} ${version ?? ''}`.trim(), reason.message ?? reason.code)],
    ),
  ];
  const running = installs.find(({ isRunning }) => isRunning);
  if (lines.length === 0 && running === undefined) return null;
  return (
    <>
      {lines.length === 0 ? null : (
        <ul class="note warn problems">
          {lines.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
      {running === undefined ? null : (
        <div class="note">
          <p>{texts.install(`${running.name ?? ''} ${running.version ?? ''}`.trim(), running.phase)}</p>
          {running.percent === null ? null : (
            <progress max={100} value={running.percent} aria-label={running.phase} />
          )}
        </div>
      )}
    </>
  );
}

function Facts({ device }: { readonly device: FleetDevice }) {
  const { nowMs } = snapshot.value;
  const { heartbeat, info } = device;
  const { fields } = texts;
  const age = device.heartbeatMs;
  const join = (...parts: readonly (string | null)[]): string | null =>
    parts.filter((part) => part !== null).join(', ') || null;
  const megabytes = (mb: number | null | undefined): string | null =>
    mb == null ? null : formatBytes(mb * 1e6);
  const percent = (value: number | null | undefined): string | null =>
    value == null ? null : texts.used(`${value.toFixed(0)}\u00a0%`);
  const free = (mb: number | null | undefined): string | null =>
    mb == null ? null : texts.free(megabytes(mb) ?? '');
  const synced = heartbeat?.isClockSynced ?? null;
  const rows: readonly (readonly [string, string | null])[] = [
    [fields.heartbeat, age === null ? null : formatDuration((nowMs - age) / 1000)],
    [fields.agent, device.agentVersion],
    [fields.model, device.model && `${device.model.name} ${device.model.version}`],
    [fields.board, info?.board ?? null],
    [fields.uptime, heartbeat?.uptimeS == null ? null : formatDuration(heartbeat.uptimeS)],
    [
      fields.temperature,
      heartbeat?.temperatureC == null ? null : `${heartbeat.temperatureC.toFixed(0)}\u00a0°C`,
    ],
    [fields.memory, join(megabytes(heartbeat?.rssMb), free(heartbeat?.freeMemoryMb))],
    [fields.disk, join(percent(heartbeat?.diskUsedPct), free(heartbeat?.diskFreeMb))],
    [
      fields.queue,
      heartbeat?.queueDepth == null
        ? null
        : join(
            texts.waiting(
              heartbeat.queueDepth.toLocaleString('en'),
              heartbeat.oldestQueuedS === null ? null : formatDuration(heartbeat.oldestQueuedS),
            ),
            (heartbeat.droppedTotal ?? 0) > 0
              ? texts.dropped((heartbeat.droppedTotal ?? 0).toLocaleString('en'))
              : null,
          ),
    ],
    [fields.clock, synced === null ? null : synced ? texts.synced : texts.unsynced],
    [
      fields.link,
      join(
        heartbeat?.roundTripMs == null
          ? null
          : texts.roundTrip(`${heartbeat.roundTripMs.toFixed(0)}\u00a0ms`),
        (heartbeat?.reconnects1h ?? 0) > 0 ? texts.reconnects(String(heartbeat?.reconnects1h)) : null,
      ),
    ],
    [
      fields.provider,
      join(
        heartbeat?.provider ?? null,
        heartbeat?.inferenceP50Ms == null ? null : `${heartbeat.inferenceP50Ms.toFixed(0)}\u00a0ms`,
      ),
    ],
    [fields.zone, info?.timeZone ?? null],
  ];
  return (
    <section class="stack tight">
      <h3>{texts.facts}</h3>
      <dl class="facts">
        {rows.map(([label, value]) =>
          value === null ? null : (
            <div key={label}>
              <dt class="muted">{label}</dt>
              <dd class="number">{value}</dd>
            </div>
          ),
        )}
      </dl>
    </section>
  );
}

function Events({ device }: { readonly device: FleetDevice }) {
  const zone = device.info?.timeZone ?? 'UTC';
  return (
    <section class="stack tight">
      <h3>{texts.events}</h3>
      {device.events.length === 0 ? <p class="muted small">{texts.noEvents}</p> : null}
      <ol class="events">
        {device.events.map(({ id, atMs, severity, type, message }) => (
          <li key={id ?? `${type}${String(atMs)}`} class={severity}>
            <span class="muted small">
              {atMs === null ? '' : formatTime(atMs, zone, { timeStyle: 'medium' })}{' '}
              {type.replaceAll('_', ' ')}
            </span>
            <p>{message}</p>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Tags({ name }: { readonly name: string }) {
  const [typed, setTyped] = useState(ownTagsOf(name).join(', '));
  return (
    <label class="field">
      <span class="label">{texts.tags}</span>
      <input
        type="text"
        value={typed}
        placeholder={texts.tagsHint}
        onInput={(event) => setTyped(event.currentTarget.value)}
        onChange={(event) => setOwnTags(name, event.currentTarget.value)}
      />
    </label>
  );
}
