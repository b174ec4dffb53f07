import { randomUUID } from 'node:crypto';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { isoTime, type Clock } from '../../src/base/clock.ts';
import type { CameraCondition } from '../../src/contract/health.ts';
import type { Reason } from '../../src/contract/observation.ts';
import type { ModelState } from '../../src/contract/states.ts';
import type { LinkStats } from '../../src/mqtt/types.ts';
import {
  makeCameraState,
  makeHealth,
  makeInfo,
  MODEL_STATE,
  SimulatedSea,
  type Identity,
} from './messages.ts';
import { SPOTS, type Spot } from './spots.ts';

export interface LightFleetOptions {
  readonly url: string;
  readonly login?: IClientOptions;
  readonly base: string;
  readonly devices: number;
  /** So many devices have a connection and a will of their own; the others share one connection. */
  readonly ownConnections: number;
  readonly everyS: number;
  readonly heartbeatS: number;
}

export interface LightFleetDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** What is wrong with a simulated device, and how many in a thousand have it. */
const FAULTS = [
  ['offline', 9],
  ['stale', 5],
  ['down', 10],
  ['frozen', 3],
  ['obstructed', 4],
  ['disk_low', 5],
  ['clock_unsynced', 4],
  ['temperature_high', 5],
  ['outbox_backlog', 6],
  ['stopped', 4],
  ['starting', 3],
  ['updating', 9],
  ['asleep', 90],
] as const;
type Fault = (typeof FAULTS)[number][0];

const PLACES = [
  'north',
  'south',
  'pier',
  'point',
  'reef',
  'tower',
  'cliff',
  'bay',
  'dune',
  'jetty',
  'club',
  'lookout',
];
const AGENTS = ['1.4.2', '1.4.2', '1.4.2', '1.4.2', '1.4.1', '1.3.0'];
const MODELS = ['2.1.0', '2.1.0', '2.1.0', '2.0.3', '1.0.0'];
const HOUR_MS = 3_600_000;

/**
 * A fleet for dashboards: its devices publish what real ones would, but have no store, outbox or commands, so that one
 * process has thousands of them. Places, heights and faults differ.
 */
export class LightFleet {
  readonly devices: readonly LightDevice[];
  readonly #clients: readonly MqttClient[];

  /** Connects, and publishes the retained states of all devices. */
  static async start(options: LightFleetOptions, deps: LightFleetDeps): Promise<LightFleet> {
    const shared = await connectAsync(options.url, { protocolVersion: 5, ...options.login });
    const clients = [shared];
    const devices: LightDevice[] = [];
    for (let index = 0; index < options.devices; index += 1) {
      const device = new LightDevice(index, options, deps);
      devices.push(device);
      if (index >= options.ownConnections) device.connect(shared);
      else clients.push(await device.connectAlone(options));
      await device.begin();
    }
    return new LightFleet(devices, clients);
  }

  private constructor(devices: readonly LightDevice[], clients: readonly MqttClient[]) {
    this.devices = devices;
    this.#clients = clients;
    for (const client of clients) client.on('error', () => undefined);
  }

  /** Publishes heartbeats and observations until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.devices.map((device) => device.run(signal)));
  }

  close(): void {
    for (const client of this.#clients) client.end(true);
  }
}

export class LightDevice {
  readonly topic: string;
  readonly name: string;
  readonly #identity: Identity;
  readonly #options: LightFleetOptions;
  readonly #deps: LightFleetDeps;
  readonly #spot: Spot;
  readonly #sea: SimulatedSea;
  readonly #agent: string;
  readonly #model: { readonly name: string; readonly version: string; readonly digest: string };
  readonly #position: { readonly lat: number; readonly lon: number };
  readonly #random: () => number;
  readonly #startedMs: number;
  #client: MqttClient | null = null;
  #fault: Fault | null;
  #seq = 0;
  #heartbeats = 0;

  constructor(index: number, options: LightFleetOptions, deps: LightFleetDeps) {
    const { random, clock } = deps;
    const spot = SPOTS[index % SPOTS.length];
    if (!spot) throw new Error('no spots');
    const round = Math.floor(index / SPOTS.length);
    const place = PLACES[round % PLACES.length] ?? 'north';
    const device =
      round < PLACES.length ? place : `${place}-${String(Math.floor(round / PLACES.length) + 1)}`;
    this.#identity = { site: spot.site, device, camera: 'main', session: randomUUID(), bootId: randomUUID() };
    this.name = `${spot.site}/${device}`;
    this.topic = `${options.base}/${this.name}/`;
    this.#options = options;
    this.#deps = deps;
    this.#spot = spot;
    this.#random = random;
    this.#sea = new SimulatedSea(random, spot);
    this.#agent = AGENTS[Math.floor(random() * AGENTS.length)] ?? '1.4.2';
    const version = MODELS[Math.floor(random() * MODELS.length)] ?? '2.1.0';
    this.#model = { name: 'gauge', version, digest: `sha256:${'0'.repeat(64)}` };
    const near = (): number => (random() - 0.5) * 0.08;
    this.#position = { lat: spot.lat + near(), lon: spot.lon + near() };
    this.#fault = chooseFault(random());
    this.#startedMs = clock.nowMs() - Math.round(90 * HOUR_MS * random());
  }

  get fault(): Fault | null {
    return this.#fault;
  }

  connect(client: MqttClient): void {
    this.#client = client;
  }

  /** Connects with a will, as a real device. */
  async connectAlone({ url, login }: LightFleetOptions): Promise<MqttClient> {
    this.#fault = null;
    const client = await connectAsync(url, {
      protocolVersion: 5,
      ...login,
      reconnectPeriod: 0,
      will: {
        topic: `${this.topic}status`,
        payload: Buffer.from(this.#statusText('offline')),
        qos: 1,
        retain: true,
      },
    });
    this.#client = client;
    return client;
  }

  /** Cuts a connection of its own without a DISCONNECT: the broker publishes the will. */
  cut(): void {
    this.#client?.stream.destroy();
  }

  /** From now on, with its next messages, the device has this fault, or none. */
  async setFault(fault: Fault | null): Promise<void> {
    this.#fault = fault;
    await this.begin();
  }

  /** Publishes the retained states. */
  async begin(): Promise<void> {
    const { clock } = this.#deps;
    const fault = this.#fault;
    const info = makeInfo(this.#identity, this.#options.everyS, clock);
    const cameras = info.cameras.map((camera) => ({
      ...camera,
      kind: 'rtsp',
      time_zone: this.#spot.zone,
      location: this.#position,
    }));
    const board = { kind: 'arm', arch: 'arm64', model: 'Raspberry Pi 5 Model B Rev 1.0' };
    await this.#retain('info', {
      ...info,
      agent_version: this.#agent,
      time_zone: this.#spot.zone,
      hardware: { ...info.hardware, ...board },
      cameras,
      model: this.#model,
    });
    await this.#retain('model/state', this.#modelState());
    await this.#publishCameraState();
    await this.#observe();
    if (fault !== 'stopped' && fault !== 'offline') await this.#beat(fault === 'stale' ? 1 : undefined);
    await this.publish('status', this.#statusText(this.#state()), { retain: true });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { everyS, heartbeatS } = this.#options;
    await Promise.all([
      this.#every(everyS, () => this.#observe(), signal),
      this.#every(heartbeatS, () => this.#beat(), signal),
    ]);
  }

  async publish(
    topic: string,
    payload: string,
    { retain = false, expiryS }: { retain?: boolean; expiryS?: number } = {},
  ) {
    const properties = expiryS === undefined ? {} : { properties: { messageExpiryInterval: expiryS } };
    // A device that was cut off publishes nothing more.
    if (this.#client?.connected !== true) return;
    await this.#client.publishAsync(`${this.topic}${topic}`, payload, { qos: 0, retain, ...properties });
  }

  #retain(topic: string, payload: object): Promise<void> {
    return this.publish(topic, JSON.stringify(payload), { retain: true });
  }

  #state(): string {
    if (this.#fault === 'offline' || this.#fault === 'stopped' || this.#fault === 'starting')
      return this.#fault;
    return 'online';
  }

  #statusText(state: string): string {
    const awayMs = this.#fault === 'offline' || this.#fault === 'stopped' ? this.#random() * 30 * HOUR_MS : 0;
    return JSON.stringify({
      state,
      session: this.#identity.session,
      at: isoTime(this.#deps.clock.nowMs() - awayMs),
    });
  }

  get #camera(): CameraFault {
    return (this.#fault && CAMERA_FAULTS[this.#fault]) ?? { state: 'up', reason: null };
  }

  #modelState(): ModelState {
    const at = isoTime(this.#deps.clock.nowMs());
    const active = this.#model;
    const state = { ...MODEL_STATE, active, slots: { ...MODEL_STATE.slots, active } };
    if (this.#fault !== 'updating') return state;
    const candidate = { ...active, version: '2.2.0' };
    return {
      ...state,
      candidate,
      phase: 'shadow',
      install: {
        update_id: randomUUID(),
        name: candidate.name,
        version: candidate.version,
        source: 'repository',
        phase: 'shadow',
        in_progress: true,
        reason: null,
        bytes: 14_200_000,
        total_bytes: 14_200_000,
        percent: Math.floor(this.#random() * 20) * 5,
        started_at: at,
        at,
        candidate,
        trusted: true,
        shadow: null,
        probation: null,
      },
    };
  }

  async #publishCameraState(): Promise<void> {
    const { state, reason } = this.#camera;
    const sinceMs = this.#deps.clock.nowMs() - this.#random() * 6 * HOUR_MS;
    await this.#retain('camera/main/state', { ...makeCameraState(this.#identity, sinceMs), state, reason });
  }

  async #beat(expiryS = 3 * this.#options.heartbeatS): Promise<void> {
    const fault = this.#fault;
    if (fault === 'offline' || fault === 'stopped') return;
    if (fault === 'stale' && this.#heartbeats > 0) return;
    this.#heartbeats += 1;
    const { clock } = this.#deps;
    const nowMs = clock.nowMs();
    const { everyS } = this.#options;
    const random = this.#random;
    const link: LinkStats = {
      connectedSinceMs: this.#startedMs,
      reconnects1h: 0,
      rttMs: 20 + Math.round(random() * 60),
      broker: 'broker.example.org:8883',
      protocolVersion: 5,
    };
    const outbox =
      fault === 'outbox_backlog'
        ? { depth: 1200 + this.#heartbeats, oldestAgeS: 4000, droppedTotal: 0 }
        : { depth: random() < 0.1 ? 1 : 0, oldestAgeS: null, droppedTotal: 0 };
    const startedMonoMs = clock.monoMs() - (nowMs - this.#startedMs);
    const health = makeHealth(
      this.#identity,
      { seq: this.#heartbeats, startedMonoMs, link, outbox, everyS },
      clock,
    );
    const { state } = this.#camera;
    const [camera] = health.cameras;
    const isSynced = fault !== 'clock_unsynced';
    const own = fault !== null && OWN_CODES.has(fault) ? [fault] : [];
    const ofCamera =
      state === 'down' || state === 'frozen' || state === 'obstructed' ? [`camera_${state}:main`] : [];
    const temperature = fault === 'temperature_high' ? 83.2 : 44 + random() * 16;
    const heartbeat = {
      ...health,
      agent_version: this.#agent,
      cpu: { ...health.cpu, temp_c: Math.round(temperature * 10) / 10 },
      disk: { ...health.disk, used_pct: fault === 'disk_low' ? 97 : Math.round(18 + random() * 30) },
      clock: { synced: isSynced, offset_ms: isSynced ? 2 : null },
      cameras: [
        {
          ...camera,
          state,
          last_frame_age_s: state === 'up' ? Math.round(random() * everyS) : 4200,
          failures_1h: state === 'down' ? 58 : 0,
          next_run_at: isoTime(nowMs + (fault === 'asleep' ? 6 * HOUR_MS : everyS * 1000)),
        },
      ],
      model: { ...health.model, ...this.#model },
      degraded: [...ofCamera, ...own],
    };
    await this.publish('health', JSON.stringify(heartbeat), { retain: true, expiryS });
  }

  async #observe(): Promise<void> {
    const { clock } = this.#deps;
    const fault = this.#fault;
    if (this.#seq > 0 && fault !== null && SILENT.has(fault)) return;
    this.#seq += 1;
    const draft = this.#sea.makeRecord(this.#identity, clock);
    const reason = fault === 'asleep' ? 'dark' : this.#camera.reason;
    const nothing = Object.fromEntries(
      Object.keys(draft.wave)
        .filter((key) => key !== 'confidence')
        .map((key) => [key, null]),
    );
    const refused = {
      status: fault === 'down' ? 'failed' : 'rejected',
      reasons: [reason],
      wave: { ...draft.wave, ...nothing },
    };
    await this.#retain('camera/main/latest', {
      ...draft,
      ...(reason === null ? {} : refused),
      seq: this.#seq,
      has_height: reason === null && draft.wave.height_m !== null,
      published_at: isoTime(clock.nowMs()),
      historical: false,
      model: this.#model,
    });
  }

  async #every(seconds: number, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    try {
      await clock.sleep(random() * seconds * 1000, signal);
      for (;;) {
        // Without a wait: a message on a lost connection has no end.
        work().catch(() => undefined);
        await clock.sleep(seconds * 1000, signal);
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }
}

interface CameraFault {
  readonly state: CameraCondition;
  readonly reason: Reason | null;
}

const CAMERA_FAULTS: Readonly<Partial<Record<Fault, CameraFault>>> = {
  down: { state: 'down', reason: 'camera_timeout' },
  frozen: { state: 'frozen', reason: 'frozen' },
  obstructed: { state: 'obstructed', reason: 'obstructed' },
  starting: { state: 'starting', reason: null },
};
const OWN_CODES = new Set<Fault>(['disk_low', 'clock_unsynced', 'temperature_high', 'outbox_backlog']);
/** These make no further records. */
const SILENT = new Set<Fault>(['offline', 'stopped', 'stale', 'asleep', 'starting']);

function chooseFault(chance01: number): Fault | null {
  let left = chance01 * 1000;
  for (const [fault, share] of FAULTS) {
    left -= share;
    if (left < 0) return fault;
  }
  return null;
}
