import { parseJsonObject } from '../../base/json-object.ts';

/** Topic of the requests, relative to the topic of the device. */
export const BLOCK_REQUEST_TOPIC = 'model/blocks/request';
/** The device receives blocks on the topic `cmd/{BLOCK_COMMAND}`. */
export const BLOCK_COMMAND = 'model.block';

export const MAX_BLOCK_BYTES = 96 * 1024;
/** Maximum number of blocks that a device requests at the same time. */
export const BLOCK_WINDOW = 4;

const ID_BYTES = 16;
export const BLOCK_HEADER_BYTES = ID_BYTES + 8;

const MAX_REQUEST_BYTES = 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A part of the model file of one update: the bytes that start at `offset`. */
export interface Block {
  /** Lower-case UUID. */
  readonly updateId: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface BlockRequest {
  readonly updateId: string;
  readonly offset: number;
  readonly length: number;
}

/** Format of the packet: update id (16 bytes), offset (8 bytes, big-endian), then the bytes of the file. */
export function encodeBlock({ updateId, offset, bytes }: Block): Buffer {
  const packet = Buffer.alloc(BLOCK_HEADER_BYTES + bytes.length);
  packet.write(updateId.replaceAll('-', ''), 'hex');
  packet.writeBigUInt64BE(BigInt(offset), ID_BYTES);
  packet.set(bytes, BLOCK_HEADER_BYTES);
  return packet;
}

/**
 * Returns null for an invalid block: one that is empty or too long, or whose offset is not a safe integer. The returned
 * bytes are a view of `payload`, not a copy.
 */
export function decodeBlock(payload: Uint8Array): Block | null {
  const length = payload.length - BLOCK_HEADER_BYTES;
  if (length < 1 || length > MAX_BLOCK_BYTES) return null;
  const packet = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const offset = Number(packet.readBigUInt64BE(ID_BYTES));
  if (!Number.isSafeInteger(offset)) return null;
  const hex = packet.toString('hex', 0, ID_BYTES);
  const updateId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { updateId, offset, bytes: packet.subarray(BLOCK_HEADER_BYTES) };
}

export const encodeBlockRequest = ({ updateId, offset, length }: BlockRequest): string =>
  JSON.stringify({ update_id: updateId, offset, length });

/** Returns null for an invalid request. */
export function decodeBlockRequest(payload: Uint8Array): BlockRequest | null {
  if (payload.length > MAX_REQUEST_BYTES) return null;
  const request = (parseJsonObject(payload) ?? {}) as Record<string, unknown>;
  const { update_id: updateId, offset, length } = request;
  const isValid = typeof updateId === 'string' && UUID.test(updateId) && isCount(offset) && isCount(length);
  return isValid && length >= 1 && length <= MAX_BLOCK_BYTES ? { updateId, offset, length } : null;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
