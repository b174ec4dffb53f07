import type { Log } from '../../base/log.ts';
import type { Camera } from '../../config/schema.ts';

type TransportSetting = Camera['transport'];
/** How the packets of a stream come. */
export type RtspTransport = Exclude<TransportSetting, 'auto'>;

/** Captures without a frame after which a transport that worked before is not the first one any more. */
const MAX_SILENT_CAPTURES = 3;

/**
 * The transports of one RTSP camera, in the order in which they are tried. With `auto` TCP is the first one, because lost
 * packets of UDP damage frames. The one that gave frames is the first one of the next capture. One that the camera accepted,
 * but that gave no frame, is not; if it gave frames before, it has three attempts, because the camera may be restarting.
 */
export class TransportChoice {
  readonly #setting: TransportSetting;
  readonly #log: Log;
  #first: RtspTransport;
  #proved: RtspTransport | null = null;
  /** Captures without a frame since the last one with frames. */
  #silentCaptures = 0;

  constructor(setting: TransportSetting, deps: { readonly log: Log }) {
    this.#setting = setting;
    this.#log = deps.log;
    this.#first = setting === 'udp' ? 'udp' : 'tcp';
  }

  get order(): readonly RtspTransport[] {
    return this.#setting === 'auto' ? [this.#first, other(this.#first)] : [this.#first];
  }

  /** A frame arrived by this transport. */
  confirm(transport: RtspTransport): void {
    this.#first = transport;
    this.#silentCaptures = 0;
    if (this.#proved === transport) return;
    this.#proved = transport;
    if (this.#setting === 'auto') this.#log.info({ transport }, 'transport of the RTSP stream');
  }

  /** The camera accepted this transport, but no frame arrived. */
  distrust(transport: RtspTransport): void {
    if (this.#setting !== 'auto') return;
    this.#silentCaptures += 1;
    if (transport === this.#proved && this.#silentCaptures < MAX_SILENT_CAPTURES) return;
    this.#first = other(transport);
    this.#log.debug(
      { transport, next: this.#first },
      'no frame by this transport: the next capture tries the other one',
    );
  }
}

const other = (transport: RtspTransport): RtspTransport => (transport === 'tcp' ? 'udp' : 'tcp');
