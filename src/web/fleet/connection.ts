import type { MqttClient } from 'mqtt';
import { signal } from '@preact/signals';
import { DeviceTable } from './device-table.ts';
import type { FleetMessage } from './device.ts';
import { fleetText } from './fleet-text.ts';
import type { Login } from './login.ts';
import { served, tunnelAddress } from './served.ts';

/** `failed`: the broker refuses, and the page asks again. */
export type LinkState =
  | { readonly kind: 'idle' | 'connecting' | 'open' }
  | { readonly kind: 'lost'; readonly sinceMs: number }
  | { readonly kind: 'failed'; readonly reason: string };

export const link = signal<LinkState>({ kind: 'idle' });
/** When the newest message arrived, ms since the epoch; 0 before the first. */
export const lastMessage = { ms: 0 };

/** Larger messages are left out by the broker: the page never reads them. */
const MAX_PACKET_BYTES = 1_048_576;
/** Retained messages have all arrived when none came for this time. */
const QUIET_MS = 1500;
const RECONNECT_MS = 3000;
const KEEP_ALIVE_S = 45;
/** A refusal of the login: MQTT 3.1.1 and 5. */
const REFUSALS = new Set([4, 5, 134, 135, 138]);
/** The broker does not speak MQTT 5. */
const VERSION_REFUSALS = new Set([1, 132]);

/** The connection of the page to the broker, from `open` to `close`. */
export class FleetConnection {
  readonly table: DeviceTable;
  readonly #login: Login;
  readonly #onMessage: (message: FleetMessage) => void;
  #client: MqttClient | null = null;
  #isClosed = false;
  #isOpened = false;
  #quietTimer = 0;
  /** Why the WebSocket was closed; mqtt.js does not say it. */
  #closeReason = '';

  constructor(login: Login, onMessage: (message: FleetMessage) => void) {
    this.#login = login;
    this.#onMessage = onMessage;
    this.table = new DeviceTable(login.base);
  }

  /** Loads the MQTT client, and connects. */
  async open(protocolVersion: 4 | 5 = 5): Promise<void> {
    link.value = { kind: 'connecting' };
    const { default: mqtt } = await import('mqtt');
    if (this.#isClosed) return;
    const { broker, username, password } = this.#login;
    const client = mqtt.connect(served === null ? broker : tunnelAddress(served), {
      protocolVersion,
      clean: true,
      clientId: `swellsight-page-${crypto.randomUUID().slice(0, 13)}`,
      keepalive: KEEP_ALIVE_S,
      reconnectPeriod: RECONNECT_MS,
      connectTimeout: 15_000,
      // Workers from blob: addresses are against the content security policy of the page.
      timerVariant: 'native',
      queueQoSZero: false,
      ...(username === '' ? {} : { username }),
      ...(password === '' ? {} : { password }),
      ...(protocolVersion === 5 ? { properties: { maximumPacketSize: MAX_PACKET_BYTES } } : {}),
      createWebsocket: (address, protocols) => this.#openSocket(address, protocols),
    });
    this.#client = client;
    client.on('connect', () => void this.#subscribe(client));
    client.on('message', (topic, payload, packet) =>
      this.#onMessage({
        topic,
        payload,
        retained: packet.retain,
        receivedMs: Date.now(),
        expiryS: packet.properties?.messageExpiryInterval,
      }),
    );
    client.on('close', () => this.#onClose());
    client.on('error', (error) => this.#onError(error, protocolVersion));
  }

  close(): void {
    this.#isClosed = true;
    window.clearTimeout(this.#quietTimer);
    this.#client?.end(true);
  }

  /** Subscribes to further topics of one device, such as its answers. */
  async subscribe(topics: readonly string[]): Promise<void> {
    await this.#client?.subscribeAsync([...topics], { qos: 0 });
  }

  unsubscribe(topics: readonly string[]): void {
    this.#client?.unsubscribeAsync([...topics]).catch(() => undefined);
  }

  async publish(topic: string, payload: object): Promise<void> {
    if (this.#client?.connected !== true) throw new Error(fleetText.link.lost);
    await this.#client.publishAsync(topic, JSON.stringify(payload), { qos: 1 });
  }

  #openSocket(address: string, protocols: string[]): WebSocket {
    const socket = new WebSocket(address, protocols);
    socket.addEventListener('close', ({ reason }) => (this.#closeReason = reason));
    return socket;
  }

  async #subscribe(client: MqttClient): Promise<void> {
    this.table.beginGeneration(Date.now());
    try {
      // QoS 0: the broker keeps nothing for a page that is gone. A retained message comes at each subscription.
      const granted = await client.subscribeAsync([...this.table.filters()], { qos: 0 });
      if (granted.length > 0 && granted.every(({ qos }) => qos >= 128)) throw new Error('refused');
    } catch {
      if (client.connected) this.#fail(fleetText.connect.unreadableTopics);
      return;
    }
    this.#isOpened = true;
    link.value = { kind: 'open' };
    this.#awaitQuiet();
  }

  /** Ends the generation when the retained messages have arrived. */
  #awaitQuiet(): void {
    window.clearTimeout(this.#quietTimer);
    const startedMs = Date.now();
    this.#quietTimer = window.setInterval(() => {
      if (Date.now() - Math.max(lastMessage.ms, startedMs) < QUIET_MS && Date.now() - startedMs < 30_000)
        return;
      window.clearInterval(this.#quietTimer);
      this.table.endGeneration();
    }, 500);
  }

  #onClose(): void {
    window.clearTimeout(this.#quietTimer);
    if (this.#isClosed || link.value.kind === 'failed') return;
    if (this.#isOpened) {
      if (link.value.kind !== 'lost') link.value = { kind: 'lost', sinceMs: Date.now() };
      return;
    }
    const { unreachable } = fleetText.connect;
    this.#fail(this.#closeReason === '' ? unreachable : `${unreachable} (${this.#closeReason})`);
  }

  #onError(error: Error, protocolVersion: 4 | 5): void {
    const code = 'code' in error ? Number(error.code) : NaN;
    if (protocolVersion === 5 && VERSION_REFUSALS.has(code)) {
      this.#client?.removeAllListeners('close');
      this.#client?.end(true);
      void this.open(4);
    } else if (REFUSALS.has(code)) this.#fail(fleetText.connect.refused);
  }

  #fail(reason: string): void {
    link.value = { kind: 'failed', reason };
    this.close();
  }
}
