import { AgentError } from '../../base/errors.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import type { SocketBytes } from './socket-bytes.ts';

/** Status and headers of a response. Header names are in lower case; a header may have several values. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

/** Limit for all header lines of one answer, interim responses included. */
const MAX_HEAD_BYTES = 64 * 1024;

/** `HTTP/1.1 200 OK`, and what devices write instead: `HTTP/1.0 200`, `HTTP 200 OK`, `ICY 200 OK`. */
const STATUS_LINE = /^[a-z]+(?:\/\d+(?:\.\d+)?)?[ \t]+(\d{3})(?!\d)/i;

/**
 * Reads the head of a response, and skips interim responses (100 to 199). It ignores lines that are not headers.
 * Throws `camera_codec` when the bytes are not HTTP, `camera_unreachable` when they end within the head, and the failure
 * of the connection.
 */
export async function readHead(source: SocketBytes): Promise<ResponseHead> {
  let bytesLeft = MAX_HEAD_BYTES;
  const nextLine = async (): Promise<string> => {
    const line = await source.readLine(bytesLeft).catch((failure: unknown) => {
      throw failure instanceof RangeError ? tooLarge() : failure;
    });
    if (line === null)
      throw new AgentError('camera_unreachable', 'the camera closed the connection before its answer');
    bytesLeft -= line.length + 1;
    if (bytesLeft < 0) throw tooLarge();
    let { length } = line;
    while (line[length - 1] === '\r') length -= 1;
    return line.slice(0, length);
  };
  for (;;) {
    let line = await nextLine();
    while (line === '') line = await nextLine();
    const status = Number(STATUS_LINE.exec(line)?.[1]);
    if (!(status >= 100))
      throw new AgentError('camera_codec', 'the camera does not speak HTTP', {
        hint: CAUSE_REMEDIES.other_protocol,
      });
    const headers = await readHeaders(nextLine);
    const isInterim = status < 200 && status !== 101;
    if (!isInterim) return { status, headers };
  }
}

const tooLarge = (): AgentError =>
  new AgentError('camera_codec', `the header of the response is larger than ${MAX_HEAD_BYTES} bytes`);

async function readHeaders(nextLine: () => Promise<string>): Promise<ResponseHead['headers']> {
  const headers = new Map<string, string[]>();
  // The values of the previous header, which a folded line continues (RFC 9112, section 5.2).
  let previous: string[] | null = null;
  for (let line = await nextLine(); line !== ''; line = await nextLine()) {
    if (/^[ \t]/.test(line)) {
      const value = previous?.pop();
      if (value !== undefined) previous?.push(`${value} ${line.trim()}`);
      continue;
    }
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim().toLowerCase();
    if (name === '') {
      previous = null;
      continue;
    }
    previous = headers.get(name) ?? [];
    previous.push(line.slice(colon + 1).trim());
    headers.set(name, previous);
  }
  return headers;
}
