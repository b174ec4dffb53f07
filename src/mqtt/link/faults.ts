import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { EventDraft, RaiseEvent } from '../../store/types.ts';
import { Overlong, type ConnectFailure } from './connect-failure.ts';
import * as events from './events.ts';
import { goodbye, type Goodbye } from './disconnect-reason.ts';
import type { Sign } from './status.ts';
import { isExpiring, type Validity } from './validity.ts';
import type { LinkTrouble } from '../types.ts';

const HOUR_MS = 3_600_000;
/** Files that do not fit together are told of when they stay so: certificate and key are rarely replaced in one step. */
const UNUSABLE_FOR_MS = 30_000;

/** How a session ended. */
export interface Ending {
  readonly broker: string;
  readonly farewell: { readonly code: number; readonly serverReference: string | null } | null;
  readonly overlong: boolean;
}

/** What is wrong with the link, for the heartbeat, and the events about it: each once, or at most once an hour. */
export class LinkTroubles {
  readonly #clientId: string;
  readonly #clock: Clock;
  readonly #raise: RaiseEvent;
  readonly #toldMonoMs = new Map<string, number>();
  #refused = false;
  #contestedMonoMs = -Infinity;
  #foughtMonoMs = -Infinity;
  #commandsRefused = false;
  #deviceExpiring = false;
  #brokerExpiring = false;
  #unusableSinceMonoMs: number | null = null;
  #unusable = false;

  constructor(clientId: string, deps: { readonly clock: Clock; readonly raise: RaiseEvent }) {
    this.#clientId = clientId;
    this.#clock = deps.clock;
    this.#raise = deps.raise;
  }

  /** In the order of the type. */
  codes(): readonly LinkTrouble[] {
    const all: readonly (readonly [boolean, LinkTrouble])[] = [
      [this.#refused, 'link_refused'],
      [this.#clock.monoMs() - this.#contestedMonoMs < HOUR_MS, 'link_contested'],
      [this.#commandsRefused, 'commands_refused'],
      [this.#deviceExpiring, 'certificate_expiring:device'],
      [this.#brokerExpiring, 'certificate_expiring:broker'],
      [this.#unusable, 'credentials_unusable'],
    ];
    return all.filter(([is]) => is).map(([, code]) => code);
  }

  /** The broker took us. */
  accepted(): void {
    this.#refused = false;
    this.#toldMonoMs.delete('refused');
  }

  /** An attempt failed. */
  failed({ kind, error }: ConnectFailure): void {
    if (kind === 'refused') {
      this.#refused = true;
      this.#tell('refused', events.connectionRefused(error), Infinity);
    }
    if (kind === 'moved') this.#tell('moved', events.moved(error.context, null));
    if (error.cause instanceof Overlong) this.#tell('forgotten', events.sessionForgotten(error.context));
  }

  /** A connection ended; `farewell` is what the broker said. */
  ended({ broker, farewell, overlong }: Ending): Goodbye {
    const why = farewell ? goodbye(farewell.code) : 'unreachable';
    switch (why) {
      case 'taken_over':
        this.takenOver('disconnect', null);
        break;
      case 'refused':
        this.#refused = true;
        this.#tell('dismissed', events.connectionRefused(dismissal(broker, farewell?.code ?? 0)));
        break;
      case 'moved':
        this.#tell('moved', events.moved({ broker }, farewell?.serverReference ?? null));
        break;
      case 'pressed':
      case 'unreachable':
        break;
    }
    if (overlong) this.#tell('forgotten', events.sessionForgotten({ broker }));
    return why;
  }

  /** Another agent threw this one out within the last hour, as far as can be told. */
  get fought(): boolean {
    return this.#clock.monoMs() - this.#foughtMonoMs < HOUR_MS;
  }

  takenOver(sign: Sign, foreignSession: string | null): void {
    this.#contestedMonoMs = this.#clock.monoMs();
    if (sign !== 'status') this.#foughtMonoMs = this.#contestedMonoMs;
    this.#tell('taken_over', events.takenOver(this.#clientId, sign, foreignSession));
  }

  /** What became of the subscription to commands: null when it was granted. */
  commands(refusal: string | null): void {
    this.#commandsRefused = refusal !== null;
    if (refusal === null) this.#toldMonoMs.delete('commands');
    else this.#tell('commands', events.subscriptionRefused(refusal), Infinity);
  }

  /** A retained state over which the link was lost again and again. */
  stateLeftOut(topic: string, sizeBytes: number): void {
    this.#tell(`state ${topic}`, events.stateLeftOut(topic, sizeBytes));
  }

  /** Judges the certificates in use as of now; null where there is none, or none is known. */
  certificates(device: Validity | null, broker: Validity | null, nowMs: number): void {
    this.#deviceExpiring = this.#judge('device', device, nowMs);
    this.#brokerExpiring = this.#judge('broker', broker, nowMs);
  }

  /** Why the files on the disk are not used; null when they are. */
  files(fault: AgentError | null): void {
    const nowMs = this.#clock.monoMs();
    this.#unusableSinceMonoMs = fault === null ? null : (this.#unusableSinceMonoMs ?? nowMs);
    this.#unusable =
      this.#unusableSinceMonoMs !== null && nowMs - this.#unusableSinceMonoMs >= UNUSABLE_FOR_MS;
    if (fault && this.#unusable) this.#tell('files', events.credentialsUnusable(fault), Infinity);
    else if (!fault) this.#toldMonoMs.delete('files');
  }

  #judge(whose: 'device' | 'broker', validity: Validity | null, nowMs: number): boolean {
    const key = `${whose} ${validity?.fingerprint ?? ''}`;
    if (!validity || !isExpiring(validity, nowMs)) {
      // The clock may have been wrong when it was told.
      this.#toldMonoMs.delete(key);
      return false;
    }
    this.#tell(key, events.certificateExpiring(whose, validity, nowMs), Infinity);
    return true;
  }

  #tell(what: string, event: EventDraft, everyMs = HOUR_MS): void {
    const nowMs = this.#clock.monoMs();
    const toldMs = this.#toldMonoMs.get(what);
    if (toldMs !== undefined && nowMs - toldMs < everyMs) return;
    this.#toldMonoMs.set(what, nowMs);
    this.#raise(event);
  }
}

const dismissal = (broker: string, code: number): AgentError =>
  new AgentError('mqtt_refused', 'the broker dismissed this device', {
    context: { broker, reason_code: code },
  });
