/** What the link can do without, when a broker does not support it. */
export type OmittedFeature =
  /** Retained messages, and a retained will message. */
  | 'retain'
  /** A session that the broker keeps while the device is disconnected. */
  | 'session'
  /** A subscription with `+`: the link subscribes to each command instead. */
  | 'wildcards'
  /** The subscription to the own status. */
  | 'status'
  /** The subscription to commands. */
  | 'commands';

export type OmittedFeatures = ReadonlySet<OmittedFeature>;

/** How far a connection came: until its subscriptions are answered, until `online` is acknowledged, or further. */
export type SessionStage = 'subscribe' | 'publish' | 'online';

/** What the link needs to know about a session that ended. */
export interface SessionLoss {
  readonly stage: SessionStage;
  /** True when the connection was closed by the broker or the network, and not by the device. */
  readonly isRemote: boolean;
  /** The reason of the broker's DISCONNECT packet. */
  readonly disconnect: { readonly code: number } | null;
  /** True when the broker has acknowledged at least one message. */
  readonly hasAcknowledged: boolean;
}

/** Reason codes of CONNACK and DISCONNECT. Source: MQTT 5.0 sections 3.2.2.2 and 3.14.2.1. */
export const RETAIN_NOT_SUPPORTED = 154;
export const QOS_NOT_SUPPORTED = 155;
const FEATURE_OF_CODE: Readonly<Record<number, OmittedFeature>> = {
  [RETAIN_NOT_SUPPORTED]: 'retain',
  162: 'wildcards',
};

/** What is omitted, in turn, when the connection is lost again and again at this stage without a reason. */
const SUSPECTS: Readonly<Record<SessionStage, readonly OmittedFeature[]>> = {
  subscribe: ['wildcards', 'status', 'commands'],
  publish: ['retain'],
  online: [],
};
const LOSSES_PER_SUSPECT = 3;

/**
 * Attempts in turn while the broker closes the connection before CONNACK: it may not know this version of MQTT, or not
 * support something in CONNECT.
 */
const CONNECT_VARIANTS: readonly { readonly version: 4 | 5; readonly omitted: readonly OmittedFeature[] }[] =
  [
    { version: 5, omitted: [] },
    { version: 5, omitted: [] },
    { version: 4, omitted: [] },
    { version: 4, omitted: [] },
    { version: 5, omitted: ['session'] },
    { version: 4, omitted: ['session'] },
    { version: 5, omitted: ['session', 'retain'] },
    { version: 4, omitted: ['session', 'retain'] },
  ];

/** What is omitted with one broker, because it refused it, or because the connection was lost each time without a reason. */
export class BrokerFeatures {
  readonly #omitted = new Set<OmittedFeature>();
  #hangUps = 0;
  #lostStage: SessionStage = 'online';
  #losses = 0;
  #hasPublished = false;

  get omitted(): OmittedFeatures {
    return new Set(this.#omitted);
  }

  /** Call after CONNACK. */
  connected(): void {
    this.#hangUps = 0;
  }

  /**
   * Call when the broker closed the connection before CONNACK. Returns the version of MQTT for the next attempt. `only`: the
   * one version that is allowed.
   */
  hungUp(only: 4 | null): 4 | 5 {
    const variants = CONNECT_VARIANTS.filter(({ version }) => only === null || version === only);
    this.#hangUps += 1;
    const { version, omitted = [] } = variants[this.#hangUps % variants.length] ?? { version: 4 };
    for (const feature of ['session', 'retain'] as const)
      if (omitted.includes(feature)) this.#omitted.add(feature);
      else this.#omitted.delete(feature);
    return version;
  }

  /** Call with the reason code of a CONNACK or DISCONNECT. Returns true when the next attempt omits what was refused. */
  refused(code: number): boolean {
    const feature = FEATURE_OF_CODE[code];
    return feature !== undefined && this.#omit(feature);
  }

  /** Call at the end of a session. Returns true when the next attempt omits something more. */
  lost({ stage, isRemote, disconnect, hasAcknowledged }: SessionLoss): boolean {
    this.#hasPublished ||= hasAcknowledged;
    if (disconnect) return this.refused(disconnect.code);
    // A network that fails can look the same, but not each time at the same stage.
    if (stage !== this.#lostStage) this.#losses = 0;
    this.#lostStage = stage;
    if (!isRemote || (stage === 'publish' && this.#hasPublished)) return false;
    this.#losses += 1;
    if (this.#losses < LOSSES_PER_SUSPECT) return false;
    this.#losses = 0;
    const suspect = SUSPECTS[stage].find((feature) => !this.#omitted.has(feature));
    return suspect !== undefined && this.#omit(suspect);
  }

  /** Tries everything again with the next attempts. */
  reset(): void {
    this.#omitted.clear();
    this.#losses = 0;
  }

  #omit(feature: OmittedFeature): boolean {
    if (this.#omitted.has(feature)) return false;
    this.#omitted.add(feature);
    return true;
  }
}
