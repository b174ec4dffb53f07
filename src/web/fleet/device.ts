import {
  DEFAULT_HEARTBEAT_VALID_MS,
  deviceCondition,
  type DeviceCondition,
} from '../../contract/conditions.ts';
import { readCameraState, readEvent, readObservation, type EventPart } from './camera-parts.ts';
import {
  describeCameras,
  listCameraFacts,
  type CameraSources,
  type FleetCamera,
  type Heard,
  type HeardCamera,
} from './device-cameras.ts';
import {
  heartbeatValidMs,
  isTopicName,
  readAgentState,
  readHeartbeat,
  readInfo,
  readModelState,
  readStatus,
  type AgentPart,
  type Heartbeat,
  type InfoPart,
  type ModelName,
  type ModelPart,
  type Progress,
  type StatusPart,
} from './device-parts.ts';
import { Fields } from './payload.ts';

/** A message of the broker. */
export interface FleetMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retained: boolean;
  /** By the clock of this page, ms since the epoch. */
  readonly receivedMs: number;
  /** The property message expiry interval of MQTT 5, s. */
  readonly expiryS?: number | undefined;
}

/** The retained messages of a device arrive within this time. */
const FIRST_MESSAGES_MS = 5000;
const MAX_CAMERAS = 64;
const MAX_EVENTS = 20;
/** Below this, the difference is the delay of the network and of slow clocks: docs/consumer-guide.md. */
const MAX_SKEW_MS = 60_000;

/** How a device is judged. */
export interface Judgement {
  readonly condition: DeviceCondition;
  readonly sinceMs: number;
  /** False: it may have begun before this page was opened. */
  readonly isSinceKnown: boolean;
}

/** One device, as its messages describe it. Every value has a bound, because anybody may have published them. */
export class FleetDevice {
  readonly name: string;
  readonly site: string;
  readonly device: string;
  readonly firstHeardMs: number;
  lastHeardMs: number;
  #status: Heard<StatusPart> | null = null;
  #heartbeat: Heard<Heartbeat> | null = null;
  #validMs = DEFAULT_HEARTBEAT_VALID_MS;
  #skewMs = 0;
  #info: Heard<InfoPart> | null = null;
  #model: Heard<ModelPart> | null = null;
  #agent: Heard<AgentPart> | null = null;
  readonly #cameras = new Map<string, HeardCamera>();
  #events: readonly EventPart[] = [];
  readonly #invalid = new Set<string>();
  #condition: DeviceCondition | null = null;
  #sinceMs: number;
  #isSinceKnown = false;

  constructor(site: string, device: string, nowMs: number) {
    this.site = site;
    this.device = device;
    this.name = `${site}/${device}`;
    this.firstHeardMs = nowMs;
    this.lastHeardMs = nowMs;
    this.#sinceMs = nowMs;
  }

  /** Handles a message on `{site}/{device}/{rest}`. Returns false for topics that are not watched. */
  receive(rest: string, message: FleetMessage): boolean {
    const handled = this.#apply(rest, message);
    if (!handled) return false;
    this.lastHeardMs = message.receivedMs;
    return true;
  }

  #apply(rest: string, message: FleetMessage): boolean {
    switch (rest) {
      case 'status':
        this.#status = this.#read(rest, message, readStatus);
        return true;
      case 'health':
        this.#receiveHeartbeat(this.#read(rest, message, readHeartbeat), message);
        return true;
      case 'info':
        this.#info = this.#read(rest, message, readInfo);
        return true;
      case 'model/state':
        this.#model = this.#read(rest, message, readModelState);
        return true;
      case 'agent/state':
        this.#agent = this.#read(rest, message, readAgentState);
        return true;
      default:
        return rest.startsWith('event/') ? this.#receiveEvent(message) : this.#receiveCamera(rest, message);
    }
  }

  #read<T>(topic: string, message: FleetMessage, read: (fields: Fields) => T | null): Heard<T> | null {
    // An empty payload clears a retained topic.
    const isCleared = message.payload.length === 0;
    const fields = isCleared ? null : Fields.parse(message.payload);
    const part = fields && read(fields);
    if (part === null && !isCleared) this.#invalid.add(topic);
    else this.#invalid.delete(topic);
    return part && { part, heardMs: message.receivedMs, retained: message.retained };
  }

  #receiveHeartbeat(next: Heard<Heartbeat> | null, { expiryS, retained, receivedMs }: FleetMessage): void {
    const before = this.#heartbeat;
    this.#heartbeat = next;
    if (next === null) return;
    const { atMs } = next.part;
    if (!retained) this.#skewMs = receivedMs - atMs;
    if (expiryS !== undefined && expiryS > 0 && expiryS < 1e7) this.#validMs = 1000 * expiryS;
    else this.#validMs = heartbeatValidMs(before?.part ?? null, next.part) ?? this.#validMs;
  }

  #receiveEvent(message: FleetMessage): boolean {
    const fields = message.payload.length === 0 ? null : Fields.parse(message.payload);
    const event = fields && readEvent(fields);
    if (event === null) return false;
    const others = this.#events.filter(({ id }) => id === null || id !== event.id);
    this.#events = [event, ...others].slice(0, MAX_EVENTS);
    return true;
  }

  #receiveCamera(rest: string, message: FleetMessage): boolean {
    const [, id = '', leaf] = /^camera\/([^/]+)\/(state|latest)$/.exec(rest) ?? [];
    const before = this.#cameras.get(id);
    if (leaf === undefined || !isTopicName(id)) return false;
    if (before === undefined && this.#cameras.size >= MAX_CAMERAS) return false;
    const parts = before ?? { state: null, latest: null };
    const after =
      leaf === 'state'
        ? { ...parts, state: this.#read(rest, message, readCameraState) }
        : { ...parts, latest: this.#read(rest, message, readObservation) };
    if (after.state === null && after.latest === null && !this.#invalid.has(rest)) this.#cameras.delete(id);
    else this.#cameras.set(id, after);
    return true;
  }

  /** True when every retained topic of it was cleared, as `fleet forget` does. */
  get isForgotten(): boolean {
    const parts = [this.#status, this.#heartbeat, this.#info, this.#model, this.#agent];
    return parts.every((part) => part === null) && this.#cameras.size === 0 && this.#invalid.size === 0;
  }

  get state(): StatusPart['state'] | null {
    return this.#status?.part.state ?? null;
  }

  get heartbeat(): Heartbeat | null {
    return this.#heartbeat?.part ?? null;
  }

  get info(): InfoPart | null {
    return this.#info?.part ?? null;
  }

  get events(): readonly EventPart[] {
    return this.#events;
  }

  /** Topics whose newest message does not match the contract. */
  get invalid(): readonly string[] {
    return [...this.#invalid];
  }

  /** When the newest heartbeat was sent, by the clock of this page. */
  get heartbeatMs(): number | null {
    const heartbeat = this.#heartbeat;
    if (heartbeat === null) return null;
    return heartbeat.retained
      ? Math.min(heartbeat.heardMs, this.#toOurTime(heartbeat.part.atMs))
      : heartbeat.heardMs;
  }

  /** How far the clock of the device is behind the clock of this page, ms; null when they agree. */
  get clockErrorMs(): number | null {
    return Math.abs(this.#skewMs) > MAX_SKEW_MS ? this.#skewMs : null;
  }

  #toOurTime(deviceMs: number): number {
    return deviceMs + (this.clockErrorMs ?? 0);
  }

  get model(): ModelName | null {
    return this.#model?.part.active ?? this.heartbeat?.model ?? null;
  }

  get agentVersion(): string | null {
    return this.#agent?.part.running ?? this.heartbeat?.agentVersion ?? this.#info?.part.agentVersion ?? null;
  }

  /** The install or update that runs, or the last one. */
  get install(): Progress | null {
    return this.#model?.part.install ?? null;
  }

  get update(): Progress | null {
    return this.#agent?.part.update ?? null;
  }

  /** When it was last online; only approximate when this page has not seen it. */
  get lastSignMs(): number | null {
    const signs = [
      this.heartbeatMs,
      this.#status?.part.atMs ?? null,
      ...[...this.#cameras.values()].map(({ latest }) => latest?.part.capturedMs ?? null),
    ].filter((ms) => ms !== null);
    return signs.length === 0 ? null : Math.max(...signs);
  }

  cameras(nowMs: number): readonly FleetCamera[] {
    return describeCameras(this.#cameraSources, nowMs);
  }

  get #cameraSources(): CameraSources {
    return {
      heard: this.#cameras,
      heartbeat: this.#heartbeat,
      heartbeatMs: this.heartbeatMs,
      info: this.info,
      validMs: this.#validMs,
      toOurTime: (deviceMs) => this.#toOurTime(deviceMs),
    };
  }

  /** Judges the device at this time, and remembers since when it has this condition. */
  judge(nowMs: number): Judgement {
    const heartbeat = this.#heartbeat;
    const condition = deviceCondition(
      {
        state: this.state,
        stateHeardMs: this.#status?.heardMs ?? null,
        heartbeat: heartbeat && {
          heardMs: heartbeat.heardMs,
          validMs: this.#validMs,
          degraded: heartbeat.part.degraded,
        },
        cameras: listCameraFacts(this.#cameraSources),
        isUpdating: this.install?.isRunning === true || this.update?.isRunning === true,
        isReadable: this.#invalid.size === 0,
      },
      nowMs,
    );
    const isNew = condition !== this.#condition;
    // The message with the start time may arrive after the one that shows the condition.
    const startMs = isNew || !this.#isSinceKnown ? this.#startOf(condition) : null;
    if (isNew) {
      this.#condition = condition;
      this.#sinceMs = nowMs;
      // What is true when the page opens may have begun long before.
      this.#isSinceKnown = nowMs - this.firstHeardMs > FIRST_MESSAGES_MS;
    }
    if (startMs !== null) {
      this.#sinceMs = startMs;
      this.#isSinceKnown = true;
    }
    return { condition, sinceMs: this.#sinceMs, isSinceKnown: this.#isSinceKnown };
  }

  /** When the condition began, as far as the messages tell it. */
  #startOf(condition: DeviceCondition): number | null {
    const status = this.#status;
    if (condition === 'offline' || condition === 'stopped')
      return (status?.retained === true ? this.lastSignMs : status?.heardMs) ?? null;
    if (condition === 'stale') return this.heartbeatMs;
    if (condition !== 'camera_fault') return null;
    const starts = [...this.#cameras.values()].flatMap(({ state }) => {
      if (state === null || state.part.state === 'up' || state.part.sinceMs === null) return [];
      return [Math.min(state.heardMs, this.#toOurTime(state.part.sinceMs))];
    });
    return starts.length === 0 ? null : Math.max(...starts);
  }
}
