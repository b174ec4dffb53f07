import { AgentError, type ErrorCode } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type { FrameOptions, FrameResult, RenderOptions } from './protocol.ts';

/** What the control process asks of the vision process; one at a time. */
export type VisionRequest =
  | {
      readonly type: 'open';
      readonly bundle: Bundle;
      readonly provider: string;
      readonly threads: number;
      /** Resident size at which the process ends itself even in the middle of a frame, MiB. */
      readonly hardRssMb: number;
    }
  | { readonly type: 'analyze'; readonly bytes: Uint8Array; readonly options: FrameOptions }
  | { readonly type: 'render'; readonly bytes: Uint8Array; readonly options: RenderOptions };

type OnWire<Request> = Request extends { readonly bytes: Uint8Array }
  ? Omit<Request, 'bytes'> & { readonly sizeBytes: number }
  : Request;

/** A request as it crosses: the frame itself follows on `FRAME_FD`, as it is. */
export type WireRequest = OnWire<VisionRequest>;

/** The child's end of the frame pipe. Megabytes through the message channel would be copied five times. */
export const FRAME_FD = 3;

/** An `AgentError` on the wire: the class itself does not survive the crossing. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly context: Readonly<Record<string, unknown>>;
}

/** The answer to one request. */
export type VisionReply = (
  | { readonly type: 'opened' }
  | { readonly type: 'analyzed'; readonly result: FrameResult }
  | { readonly type: 'rendered'; readonly jpeg: Uint8Array }
  | { readonly type: 'failed'; readonly error: WireError }
) & {
  /** Resident size after the work, MiB. */
  readonly rssMb: number;
};

export const BYTES_PER_MB = 2 ** 20;

/** The reply if it is of the type that the request asks for; anything else is a fault of the program. */
export function expectReply<T extends VisionReply['type']>(
  reply: VisionReply | null,
  type: T,
): Extract<VisionReply, { type: T }> {
  if (reply?.type === type) return reply as Extract<VisionReply, { type: T }>;
  throw new AgentError('internal', `the vision process answered ${reply?.type ?? 'nothing'}, not ${type}`);
}
