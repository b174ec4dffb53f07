import { AgentError, type ErrorCode } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type { FrameOptions, FrameResult, RenderOptions } from './protocol.ts';

/** A request from the control process to the vision process. */
export type VisionRequest =
  | {
      readonly type: 'open';
      readonly bundle: Bundle;
      readonly provider: string;
      readonly threads: number;
      /** Resident size at which the process ends itself, even in the middle of a frame, MiB. */
      readonly hardRssMb: number;
    }
  | { readonly type: 'analyze'; readonly bytes: Uint8Array; readonly options: FrameOptions }
  | { readonly type: 'render'; readonly bytes: Uint8Array; readonly options: RenderOptions };

type OnWire<Request> = Request extends { readonly bytes: Uint8Array }
  ? Omit<Request, 'bytes'> & { readonly sizeBytes: number }
  : Request;

/** A request as the IPC channel carries it. The bytes of the frame follow on `FRAME_FD`. */
export type WireRequest = OnWire<VisionRequest>;

/** The child's end of the frame pipe. The IPC channel would copy megabytes five times. */
export const FRAME_FD = 3;

/** An `AgentError` as the IPC channel carries it, which does not keep classes. */
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
  | { readonly type: 'failed'; readonly error: WireError }
) & {
  /** Resident size after the work, MiB. */
  readonly rssMb: number;
};

export const BYTES_PER_MB = 2 ** 20;

/** Returns the reply if it has the type that fits the request. Throws `internal` otherwise. */
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
