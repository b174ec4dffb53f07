import type { Clock } from '../base/clock.ts';
import type { Closers } from '../base/resource-stack.ts';
import type { Settings } from '../config/schema.ts';
import type { Info, ModelState } from '../contract/states.ts';
import type { Log } from '../base/log.ts';
import { Announcer } from './announce.ts';
import { Discovery } from './discovery/discovery.ts';
import type { DiscoveryInput } from './discovery/drafts.ts';
import { Forwarder, type ForwarderDeps } from './forward/forwarder.ts';
import { MqttLink } from './link/link.ts';
import { ReplaceableLink } from './link/replaceable-link.ts';
import { Topics } from './topics.ts';
import type { CommandPacket } from './types.ts';
import type { Store } from '../store/store.ts';

export interface DeliveryOptions {
  readonly settings: Settings;
  /** One run of the agent. */
  readonly session: string;
}

export interface DeliveryDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly part: (name: string) => Log;
  readonly store: Store;
  readonly closers: Closers;
  readonly homeAssistant: () => Settings['mqtt']['homeAssistant'];
  readonly describeDevice: () => DiscoveryInput;
  readonly info: () => Info;
  readonly modelState: () => ModelState;
  /** Birth is complete. */
  readonly onConnected: () => void;
  readonly onCommand: (name: string, packet: CommandPacket) => void;
  readonly onAccepted: NonNullable<ForwarderDeps['onAccepted']>;
  /** Each state and each passing message, with or without a link. */
  readonly onTold: (topic: string, payload: unknown) => void;
}

/** The way out: topics, the one link, the forwarder that drains the outbox through it, and what is said at each birth. */
export class Delivery {
  readonly topics: Topics;
  readonly link: ReplaceableLink<Settings['mqtt']>;
  /** Addresses of the brokers: the embedded one's when none is named. */
  readonly urls: readonly string[];
  readonly #deps: DeliveryDeps;
  readonly #forwarder: Forwarder;
  readonly #discovery: Discovery;
  readonly #announcer: Announcer;

  /** Connects nothing yet, but starts the embedded broker where one is wanted. Throws `mqtt_port_taken`. */
  static async open(options: DeliveryOptions, deps: DeliveryDeps): Promise<Delivery> {
    const { mqtt } = options.settings;
    if (mqtt.url.length > 0) return new Delivery(options, mqtt, deps);
    const { EmbeddedBroker } = await import('./embedded.ts');
    const broker = new EmbeddedBroker(mqtt.embedded, { log: deps.part('broker') });
    const { port } = await broker.start();
    deps.closers.defer(() => broker.stop());
    return new Delivery(
      options,
      { ...mqtt, url: [`mqtt://${mqtt.embedded.host}:${port}`], protocolVersion: 4 },
      deps,
    );
  }

  private constructor({ settings, session }: DeliveryOptions, mqtt: Settings['mqtt'], deps: DeliveryDeps) {
    const { clock, random, store, part } = deps;
    const log = part('mqtt');
    const { raise } = store;
    this.#deps = deps;
    this.urls = mqtt.url;
    this.topics = new Topics({ base: mqtt.base, site: settings.site, device: settings.device });
    const onConnected = (): void => {
      this.#forwarder.linkUp();
      this.#discovery.linkUp();
      deps.onConnected();
    };
    const { topics } = this;
    const { onCommand } = deps;
    this.link = new ReplaceableLink(
      mqtt,
      (wanted) =>
        new MqttLink(
          { mqtt: wanted, session },
          { topics, clock, log, random, raise, onConnected, onCommand },
        ),
      { clock, onState: deps.onTold },
    );
    this.#forwarder = new Forwarder(
      { backfillPerS: mqtt.backfillPerS },
      { link: this.link, outbox: store.outbox, clock, log, raise, onAccepted: deps.onAccepted },
    );
    this.#discovery = new Discovery(
      { settings: deps.homeAssistant, describe: deps.describeDevice },
      { topics, link: this.link, memory: store.keyValue, clock, log: part('discovery') },
    );
    this.#announcer = new Announcer({
      clock,
      publish: () => {
        this.publishStates();
        return this.link.announce();
      },
    });
  }

  /** Connects, and delivers until the signal aborts. */
  start(signal: AbortSignal): void {
    this.#discovery.start(signal);
    this.publishStates();
    this.link.start(signal);
    this.#forwarder.start(signal);
  }

  /** What the device is and which model it has, in the order of the birth; each is sent only where it changed. */
  publishStates(): void {
    this.link.setState('info', this.#deps.info());
    this.#discovery.refresh();
    this.link.setState('model/state', this.#deps.modelState(), { each: true });
  }

  /** A message that is worth something now or never. */
  tell(topic: string, payload: object): void {
    this.#deps.onTold(topic, payload);
    if (!this.link.connected) return;
    this.link.publish(topic, JSON.stringify(payload), { qos: 0, retain: false }).catch(() => undefined);
  }

  /** The birth again, for who asks. */
  announce(): Promise<void> {
    return this.#announcer.announce();
  }
}
