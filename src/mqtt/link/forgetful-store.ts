import { Readable } from 'node:stream';
import type { IClientOptions } from 'mqtt';

type PacketStore = NonNullable<IClientOptions['outgoingStore']>;

/**
 * Keeps nothing of what mqtt.js sends, for a connection is never revived: what was not acknowledged is in the outbox, and
 * the retained states are sent in every birth.
 */
export class ForgetfulStore implements PacketStore {
  put(...[, done]: Parameters<PacketStore['put']>): this {
    done();
    return this;
  }

  del(...[, done]: Parameters<PacketStore['del']>): this {
    done();
    return this;
  }

  get(...[, done]: Parameters<PacketStore['get']>): this {
    done(new Error('nothing is kept'));
    return this;
  }

  createStream(): ReturnType<PacketStore['createStream']> {
    return Readable.from([]) as unknown as ReturnType<PacketStore['createStream']>;
  }

  close(...[done]: Parameters<PacketStore['close']>): void {
    done();
  }
}
