import { BLOCK_WINDOW, MAX_BLOCK_BYTES } from './model-block.ts';

/** Times and sizes of a transfer in blocks; tests shorten them. */
export interface ModelBlocksTuning {
  readonly blockBytes: number;
  /** Blocks become smaller, down to this, while none comes: the broker may take only small messages. */
  readonly leastBlockBytes: number;
  readonly window: number;
  /** Silence after which blocks are asked for again; doubles each time, up to `longestAnswerMs`. */
  readonly answerMs: number;
  readonly longestAnswerMs: number;
  /** The same on a new connection, where the answers may have been lost with the old one. */
  readonly afterLinkMs: number;
  /** Without a new byte for so long, the transfer fails. */
  readonly patienceMs: number;
  /** However it goes on, it fails after so long; another install takes it up where it ended. */
  readonly overallMs: number;
}

export const DEFAULT_BLOCKS: ModelBlocksTuning = {
  blockBytes: MAX_BLOCK_BYTES,
  leastBlockBytes: 4096,
  window: BLOCK_WINDOW,
  answerMs: 30_000,
  longestAnswerMs: 300_000,
  afterLinkMs: 5000,
  patienceMs: 3_600_000,
  overallMs: 86_400_000,
};
