import { AgentError, type ErrorCode } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type { FrameOptions, FrameResult, RenderOptions, ShrinkOptions, ShrunkFrame } from './protocol.ts';

/** A request from the control process to the vision process. */
export type VisionRequest =
  | {
      readonly type: 'open';
      readonly bundle: Bundle;
      readonly provider: string;
      readonly threads: number;
      /** Resident memory at which the vision process kills itself, even in the middle of a frame, MiB. */
      readonly hardRssMb: number;
    }
  | { readonly type: 'analyze'; readonly bytes: Uint8Array; readonly options: FrameOptions }
  | { readonly type: 'render'; readonly bytes: Uint8Array; readonly options: RenderOptions }
  | { readonly type: 'shrink'; readonly bytes: Uint8Array; readonly options: ShrinkOptions };

type OnWire<Request> = Request extends { readonly bytes: Uint8Array }
  ? Omit<Request, 'bytes'> & { readonly sizeBytes: number }
  : Request;

/** A request as the IPC channel carries it. The bytes of the frame follow on `FRAME_FD`. */
export type WireRequest = OnWire<VisionRequest> & {
  /** Number of the request; its reply has the same. */
  readonly id: number;
};

/** File descriptor of the frame pipe in the vision process. The IPC channel would copy each frame five times. */
export const FRAME_FD = 3;

/** The fields of an `AgentError`, because the IPC channel does not keep classes. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly context: Readonly<Record<string, unknown>>;
}

/** The reply to one request. */
export type VisionReply = (
  | { readonly type: 'opened' }
  | { readonly type: 'analyzed'; readonly result: FrameResult }
  | { readonly type: 'rendered'; readonly jpeg: Uint8Array }
  | { readonly type: 'shrunk'; readonly picture: ShrunkFrame }
  | { readonly type: 'failed'; readonly error: WireError }
) & {
  /** Number of the request. */
  readonly id: number;
  /** Resident memory of the vision process after the request, MiB. */
  readonly rssMb: number;
};

export const BYTES_PER_MB = 2 ** 20;

/** What a process writes to stderr before it kills itself because of `hardRssMb`. */
export const MEMORY_LIMIT_EXCEEDED = 'MB is over the ceiling';

/** Returns the reply if it has the expected type. Throws `internal` otherwise. */
export function expectReply<T extends VisionReply['type']>(
  reply: VisionReply | null,
  type: T,
): Extract<VisionReply, { type: T }> {
  if (reply?.type === type) return reply as Extract<VisionReply, { type: T }>;
  throw new AgentError(
    'internal',
    `the vision process replied ${reply?.type ?? 'nothing'} instead of ${type}`,
  );
}
