import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { RaiseEvent } from '../../store/types.ts';
import { isExpiring, type CertificateValidity } from './credential-files.ts';
import * as events from './fault-events.ts';
import {
  disconnectReason,
  OversizedPacketError,
  type ConnectFailure,
  type DisconnectReason,
} from './failures.ts';
import type { ConflictSign } from './status-watch.ts';
import type { BrokerLimit, LinkFault } from '../types.ts';

const HOUR_MS = 3_600_000;
/** Unusable files are reported after this time, because certificate and key are rarely replaced in one step. */
const UNUSABLE_FILES_MS = 30_000;

/** How a session ended. */
export interface SessionEnd {
  readonly broker: string;
  /** The DISCONNECT packet of the broker; MQTT 5 only. */
  readonly disconnect: { readonly code: number; readonly serverReference: string | null } | null;
  readonly receivedOversizedPacket: boolean;
  /** Null while the session is open. */
  readonly endReason: string | null;
}

/**
 * The faults of the link, for the heartbeat, and the events about them. For a fault that lasts, an event is raised only
 * when the fault begins. For a fault that can occur again and again, at most one event is raised per hour.
 */
export class LinkFaults {
  readonly #clientId: string;
  readonly #clock: Clock;
  readonly #raise: RaiseEvent;
  /** Monotonic time of the last event about each fault. */
  readonly #raisedMonoMs = new Map<string, number>();
  /** Why the last attempt failed or the last connection ended; null after CONNACK. */
  failure: AgentError | null = null;
  #isRefused = false;
  #takenOverMonoMs = -Infinity;
  #conflictMonoMs = -Infinity;
  #areCommandsRefused = false;
  #isDeviceExpiring = false;
  #isBrokerExpiring = false;
  #unusableSinceMonoMs: number | null = null;
  #areFilesUnusable = false;
  #limits: readonly BrokerLimit[] = [];

  constructor(clientId: string, deps: { readonly clock: Clock; readonly raise: RaiseEvent }) {
    this.#clientId = clientId;
    this.#clock = deps.clock;
    this.#raise = deps.raise;
  }

  /** The faults that are present, in the order of the type `LinkFault`. */
  codes(): readonly LinkFault[] {
    const all: readonly (readonly [boolean, LinkFault])[] = [
      [this.#isRefused, 'link_refused'],
      [this.#clock.monoMs() - this.#takenOverMonoMs < HOUR_MS, 'link_contested'],
      [this.#areCommandsRefused, 'commands_refused'],
      [this.#isDeviceExpiring, 'certificate_expiring:device'],
      [this.#isBrokerExpiring, 'certificate_expiring:broker'],
      [this.#areFilesUnusable, 'credentials_unusable'],
    ];
    const present = all.filter(([isPresent]) => isPresent).map(([, code]) => code);
    return [...present, ...this.#limits.map((limit) => `broker_limits:${limit}` as const)];
  }

  /** Call after CONNACK. */
  accepted(): void {
    this.failure = null;
    this.#isRefused = false;
    this.#raisedMonoMs.delete('refused');
  }

  /** Call after a failed connection attempt. */
  connectFailed({ kind, error }: ConnectFailure): void {
    this.failure = error;
    if (kind === 'refused') {
      this.#isRefused = true;
      this.#raiseEvery(Infinity, 'refused', events.refusedEvent(error));
    }
    if (kind === 'moved') this.#raiseEvery(HOUR_MS, 'moved', events.movedEvent(error.context, null));
    if (error.cause instanceof OversizedPacketError)
      this.#raiseEvery(HOUR_MS, 'forgotten', events.sessionForgottenEvent(error.context));
  }

  /** Call at the end of a connection. Returns the reason that the broker gave. */
  sessionEnded({ broker, disconnect, receivedOversizedPacket, endReason }: SessionEnd): DisconnectReason {
    this.failure = new AgentError('mqtt_unreachable', 'the connection to the broker was lost', {
      context: { broker, reason: endReason },
    });
    const reason = disconnect ? disconnectReason(disconnect.code) : 'unreachable';
    switch (reason) {
      case 'taken_over':
        this.identityConflict('disconnect', null);
        break;
      case 'refused':
        this.#isRefused = true;
        this.#raiseEvery(HOUR_MS, 'dismissed', events.refusedEvent(dismissal(broker, disconnect?.code ?? 0)));
        break;
      case 'moved':
        this.#raiseEvery(
          HOUR_MS,
          'moved',
          events.movedEvent({ broker }, disconnect?.serverReference ?? null),
        );
        break;
      case 'busy':
      case 'unreachable':
        break;
    }
    if (receivedOversizedPacket)
      this.#raiseEvery(HOUR_MS, 'forgotten', events.sessionForgottenEvent({ broker }));
    return reason;
  }

  /** True when it seems that another agent has disconnected this agent within the last hour. */
  get hasIdentityConflict(): boolean {
    return this.#clock.monoMs() - this.#conflictMonoMs < HOUR_MS;
  }

  /**
   * Call when another agent uses this device's identity. A status of the other agent alone does not mean
   * that it disconnected this agent.
   */
  identityConflict(sign: ConflictSign, otherSession: string | null): void {
    this.#takenOverMonoMs = this.#clock.monoMs();
    if (sign !== 'status') this.#conflictMonoMs = this.#takenOverMonoMs;
    this.#raiseEvery(HOUR_MS, 'taken_over', events.takenOverEvent(this.#clientId, sign, otherSession));
  }

  /**
   * Call with the broker's answer to the subscription to commands: the reason of a refusal, or null when it accepted.
   */
  setCommandRefusal(refusal: string | null): void {
    this.#areCommandsRefused = refusal !== null;
    if (refusal === null) this.#raisedMonoMs.delete('commands');
    else this.#raiseEvery(Infinity, 'commands', events.subscriptionRefusedEvent(refusal));
  }

  /** Call when a connection is ready: what its broker does not support. One event for each broker and set of limits. */
  setBrokerLimits(broker: string, limits: ReadonlySet<BrokerLimit>): void {
    this.#limits = [...limits];
    if (limits.size > 0)
      this.#raiseEvery(
        Infinity,
        `limits ${broker} ${this.#limits.join()}`,
        events.brokerLimitedEvent(broker, this.#limits),
      );
  }

  /** Call when a state is no longer published, because the connection was lost each time it was published. */
  stateLeftOut(topic: string, sizeBytes: number): void {
    this.#raiseEvery(HOUR_MS, `state ${topic}`, events.stateLeftOutEvent(topic, sizeBytes));
  }

  /** Checks the certificates in use. Null means that there is no certificate, or that it is unknown. */
  checkCertificates(
    device: CertificateValidity | null,
    broker: CertificateValidity | null,
    nowMs: number,
  ): void {
    this.#isDeviceExpiring = this.#checkExpiry('device', device, nowMs);
    this.#isBrokerExpiring = this.#checkExpiry('broker', broker, nowMs);
  }

  /** Call with the reason why the credential files are not in use; null when they are in use. */
  setCredentialFault(fault: AgentError | null): void {
    const nowMs = this.#clock.monoMs();
    this.#unusableSinceMonoMs = fault === null ? null : (this.#unusableSinceMonoMs ?? nowMs);
    this.#areFilesUnusable =
      this.#unusableSinceMonoMs !== null && nowMs - this.#unusableSinceMonoMs >= UNUSABLE_FILES_MS;
    if (fault && this.#areFilesUnusable)
      this.#raiseEvery(Infinity, 'files', events.credentialsUnusableEvent(fault));
    else if (!fault) this.#raisedMonoMs.delete('files');
  }

  #checkExpiry(owner: 'device' | 'broker', validity: CertificateValidity | null, nowMs: number): boolean {
    const fault = `${owner} ${validity?.fingerprint ?? ''}`;
    if (!validity || !isExpiring(validity, nowMs)) {
      // An event about this certificate may have been raised while the clock was wrong. Allow another one.
      this.#raisedMonoMs.delete(fault);
      return false;
    }
    this.#raiseEvery(Infinity, fault, events.certificateExpiringEvent(owner, validity, nowMs));
    return true;
  }

  /** `everyMs`: minimum time between two events about the same fault; Infinity: one event until the fault ends. */
  #raiseEvery(everyMs: number, fault: string, event: EventDraft): void {
    const nowMs = this.#clock.monoMs();
    const raisedMs = this.#raisedMonoMs.get(fault);
    if (raisedMs !== undefined && nowMs - raisedMs < everyMs) return;
    this.#raisedMonoMs.set(fault, nowMs);
    this.#raise(event);
  }
}

const dismissal = (broker: string, code: number): AgentError =>
  new AgentError('mqtt_refused', 'the broker disconnected this device', {
    context: { broker, reason_code: code },
  });
