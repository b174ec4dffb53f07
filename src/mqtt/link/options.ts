import type { Clock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import type { Log } from '../../base/log.ts';
import type { RaiseEvent } from '../../store/types.ts';
import type { CredentialSources } from './files.ts';
import type { LinkTuning } from './tuning.ts';
import type { Topics } from '../topics.ts';
import type { CommandPacket } from '../types.ts';

export interface LinkOptions {
  readonly mqtt: Pick<Settings['mqtt'], 'url' | 'protocolVersion' | 'clientId'> & CredentialSources;
  /** One run of the agent. */
  readonly session: string;
  readonly tuning?: Partial<LinkTuning>;
}

export interface LinkDeps {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
  /** Birth is complete: the outbox may be drained. Called once per connection. */
  readonly onConnected?: () => void;
  readonly onCommand?: (name: string, packet: CommandPacket) => void;
}
