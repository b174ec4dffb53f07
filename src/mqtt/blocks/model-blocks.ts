import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { BlockSink, BlockSource, WantedBlocks } from '../../model/types.ts';
import { BlockTransfer } from './block-transfer.ts';
import { decodeBlock } from './model-block.ts';
import { DEFAULT_BLOCKS, type ModelBlocksTuning } from './model-block-tuning.ts';
import type { CommandPacket, Link } from '../types.ts';

export interface ModelBlocksDeps {
  readonly link: Pick<Link, 'connected' | 'publish'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Blocks that were of no use, by reason. */
export interface IgnoredBlocks {
  readonly retained: number;
  /** No block at all, or longer than one may be. */
  readonly malformed: number;
  /** Of an update that is not in hand. */
  readonly foreign: number;
  /** Never asked for, of another length than asked for, or come before. */
  readonly unasked: number;
}

/**
 * The device's side of a model transfer over MQTT. Blocks do not count against the rate of commands: each one must have
 * been asked for, and at most a window of them is.
 */
export class ModelBlocks implements BlockSource {
  readonly #tuning: ModelBlocksTuning;
  readonly #deps: ModelBlocksDeps;
  readonly #transfers = new Map<string, BlockTransfer>();
  #ignored: IgnoredBlocks = { retained: 0, malformed: 0, foreign: 0, unasked: 0 };

  constructor(tuning: Partial<ModelBlocksTuning>, deps: ModelBlocksDeps) {
    this.#tuning = { ...DEFAULT_BLOCKS, ...tuning };
    this.#deps = deps;
  }

  async fetch(wanted: WantedBlocks, sink: BlockSink, signal: AbortSignal): Promise<void> {
    const { updateId } = wanted;
    if (this.#transfers.has(updateId)) throw new AgentError('internal', 'the transfer is under way already');
    const transfer = new BlockTransfer(wanted, sink, this.#tuning, this.#deps);
    const before = this.#ignored;
    this.#transfers.set(updateId, transfer);
    try {
      await transfer.run(signal);
    } finally {
      this.#transfers.delete(updateId);
      if (before !== this.#ignored) this.#deps.log.info({ ignored: this.#ignored }, 'blocks of no use came');
    }
  }

  /** Takes one message from `cmd/model.block`. Never throws, never answers. */
  receive({ payload, retain }: CommandPacket): void {
    if (retain) {
      this.#ignore('retained');
      return;
    }
    const block = decodeBlock(payload);
    const transfer = block ? this.#transfers.get(block.updateId) : undefined;
    if (block === null) this.#ignore('malformed');
    else if (transfer === undefined) this.#ignore('foreign');
    else if (!transfer.take(block)) this.#ignore('unasked');
  }

  /** There is a new connection to the broker. */
  linkUp(): void {
    for (const transfer of this.#transfers.values()) transfer.linkUp();
  }

  get ignored(): IgnoredBlocks {
    return this.#ignored;
  }

  #ignore(reason: keyof IgnoredBlocks): void {
    this.#ignored = { ...this.#ignored, [reason]: this.#ignored[reason] + 1 };
  }
}
