import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { AgentError } from '../../base/errors.ts';

/** Facts about an ONNX file that decide whether it may be loaded. */
export interface OnnxScan {
  /** The `location` (file name) of every tensor that is stored in another file; each name once. */
  readonly externalFiles: readonly string[];
  /** Number of nodes in all graphs and functions. */
  readonly nodes: number;
}

/**
 * The protobuf messages that lead to tensors. For each message type: field number -> type of the message in this field.
 * All other fields are skipped.
 * Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
const CHILDREN: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  Model: { 7: 'Graph', 20: 'Training', 25: 'Function' },
  Training: { 1: 'Graph', 2: 'Graph' },
  Function: { 7: 'Node', 11: 'Attribute' },
  Graph: { 1: 'Node', 5: 'Tensor', 15: 'SparseTensor' },
  Node: { 4: 'OpType', 5: 'Attribute' },
  Attribute: { 5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph', 22: 'SparseTensor', 23: 'SparseTensor' },
  SparseTensor: { 1: 'Tensor', 2: 'Tensor' },
  Tensor: { 13: 'ExternalEntry' },
};
const GRAPH_OF_MODEL = 7;
/** The number of the field with the dimensions of a tensor. The dimensions are single numbers or a packed list. */
const DIMS: Readonly<Record<string, number>> = { Tensor: 1, SparseTensor: 3 };

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** The fields of a StringStringEntryProto: the field number times 8, plus the wire type. */
const ENTRY_KEY_TAG = 8 + BYTES;
const ENTRY_VALUE_TAG = 16 + BYTES;

/** A larger tag is invalid. Some readers cut it to 32 bits and would see another field than this scan. */
const MAX_TAG = 2 ** 32 - 1;
const MAX_VARINT_BYTES = 10;

/** These limits are far above the nesting and the number of fields in real models. */
const MAX_DEPTH = 64;
const MAX_FIELDS = 5_000_000;
const MAX_TEXT_BYTES = 4096;
/**
 * The time to load a model grows faster than the number of nodes: 50,000 nodes in a row take half a minute on a board.
 * Large models have 5,000 nodes.
 */
const MAX_NODES = 20_000;
/**
 * The dimensions of a tensor may announce more values than the file contains, because the runtime expands a sparse
 * tensor in memory.
 */
const MAX_VALUES = 2 ** 29;
const MAX_DIMS = 64;

/**
 * Scans the protobuf data of an ONNX file without loading the weights. Throws `model_bundle_refused` when the file is
 * not an ONNX model, exceeds a limit, or contains code compiled for one execution provider (`EPContext`), which may
 * refer to other files.
 */
export async function scanOnnx(path: string, name: string): Promise<OnnxScan> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);

  const { size } = await file.stat();
  const scanner = new Scanner(new FileWindow(file), name);
  await scanner.scanMessage('Model', 0, size, 0);
  if (!scanner.hasGraph) throw scanner.refusal('is not an ONNX model: it has no graph');
  return { externalFiles: [...scanner.externalFiles], nodes: scanner.nodes };
}

class Scanner {
  readonly externalFiles = new Set<string>();
  hasGraph = false;
  nodes = 0;
  readonly #window: FileWindow;
  readonly #name: string;
  #fields = 0;

  constructor(window: FileWindow, name: string) {
    this.#window = window;
    this.#name = name;
  }

  async scanMessage(type: string, start: number, end: number, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw this.refusal('is nested too deeply');
    const children = CHILDREN[type] ?? {};
    if (type === 'Node' && ++this.nodes > MAX_NODES)
      throw this.refusal(`has more than ${String(MAX_NODES)} nodes`);
    /** The dimensions of a tensor that were read so far: their number and their product. */
    const dims = { count: 0, values: 1 };
    for (let at = start; at < end;) {
      if (++this.#fields > MAX_FIELDS) throw this.refusal('has too many fields');
      const tag = await this.#varint(at, end);
      const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
      if (field === 0 || tag.value > MAX_TAG) throw this.refusal('is not an ONNX model');
      const isDims = field === DIMS[type];
      if (wire !== BYTES) {
        if (isDims && wire === VARINT) this.#addDimension(dims, (await this.#varint(tag.next, end)).value);
        at = await this.#skip(wire, tag.next, end);
        continue;
      }
      const length = await this.#varint(tag.next, end);
      const bodyEnd = length.next + length.value;
      if (bodyEnd > end) throw this.refusal('is truncated');
      const child = children[field];
      if (type === 'Model' && field === GRAPH_OF_MODEL) this.hasGraph = true;
      if (isDims) {
        for (let next = length.next; next < bodyEnd;) {
          const dim = await this.#varint(next, bodyEnd);
          this.#addDimension(dims, dim.value);
          next = dim.next;
        }
      }
      if (child !== undefined) await this.#scanChild(child, length.next, bodyEnd, depth + 1);
      at = bodyEnd;
    }
  }

  refusal(reason: string): AgentError {
    return new AgentError('model_bundle_refused', `${this.#name} ${reason}`, {
      context: { file: this.#name },
    });
  }

  #addDimension(dims: { count: number; values: number }, dim: number): void {
    // A zero makes the tensor empty. Count it as 1, so that it does not hide the other dimensions.
    dims.values *= Math.max(1, dim);
    if (++dims.count > MAX_DIMS || dims.values > MAX_VALUES)
      throw this.refusal(`announces a tensor of more than ${String(MAX_VALUES)} values`);
  }

  async #scanChild(type: string, start: number, end: number, depth: number): Promise<void> {
    switch (type) {
      case 'OpType':
        if ((await this.#text(start, end)) === 'EPContext') {
          throw this.refusal('contains code compiled for one provider (EPContext)');
        }
        return;
      case 'ExternalEntry':
        return this.#scanExternalEntry(start, end);
      default:
        return this.scanMessage(type, start, end, depth);
    }
  }

  /**
   * Reads a StringStringEntryProto: field 1 is the key, field 2 is the value. Refuses other and repeated fields, because
   * readers may differ in which text they use.
   */
  async #scanExternalEntry(start: number, end: number): Promise<void> {
    const texts = new Map<number, string>();
    for (let at = start; at < end;) {
      const tag = await this.#varint(at, end);
      const length = await this.#varint(tag.next, end);
      const bodyEnd = length.next + length.value;
      const isText = tag.value === ENTRY_KEY_TAG || tag.value === ENTRY_VALUE_TAG;
      if (!isText || bodyEnd > end || texts.has(tag.value)) throw this.refusal('is not an ONNX model');
      texts.set(tag.value, await this.#text(length.next, bodyEnd));
      at = bodyEnd;
    }
    if (texts.get(ENTRY_KEY_TAG) === 'location') this.externalFiles.add(texts.get(ENTRY_VALUE_TAG) ?? '');
  }

  async #skip(wire: number, at: number, end: number): Promise<number> {
    let next: number;
    if (wire === VARINT) next = (await this.#varint(at, end)).next;
    else if (wire === FIXED64) next = at + 8;
    else if (wire === FIXED32) next = at + 4;
    else throw this.refusal('is not an ONNX model');
    if (next > end) throw this.refusal('is truncated');
    return next;
  }

  async #text(start: number, end: number): Promise<string> {
    if (end - start > MAX_TEXT_BYTES) throw this.refusal('has a name that is too long');
    await this.#window.load(start, end - start);
    const text = this.#window.text(start, end);
    // Bytes that are not UTF-8 become this character, and another reader would see another name.
    if (text.includes('\ufffd')) throw this.refusal('has a name that is not UTF-8');
    return text;
  }

  /** Refuses a number in more bytes than it needs, or of more than 64 bits: readers differ in what they make of it. */
  async #varint(start: number, end: number): Promise<{ value: number; next: number }> {
    await this.#window.load(start, Math.min(MAX_VARINT_BYTES, end - start));
    let value = 0;
    for (let at = start; at < Math.min(end, start + MAX_VARINT_BYTES); at++) {
      const byte = this.#window.byte(at);
      value += (byte & 0x7f) * 2 ** (7 * (at - start));
      if (byte >= 0x80) continue;
      if ((byte === 0 && at > start) || value >= 2 ** 65)
        throw this.refusal('has a number in an unusual form');
      return { value, next: at + 1 };
    }
    throw this.refusal('is truncated');
  }
}

const WINDOW_BYTES = 64 * 1024;

/** A window that moves over a file: it gives access to any place without loading the whole file. */
class FileWindow {
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(WINDOW_BYTES);
  #start = 0;
  #size = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Loads `size` bytes (at most 64 KiB) at position `at`. Bytes after the end of the file are zero. */
  async load(at: number, size: number): Promise<void> {
    if (at >= this.#start && at + size <= this.#start + this.#size) return;
    const { bytesRead } = await this.#file.read(this.#buffer, 0, WINDOW_BYTES, at);
    this.#buffer.fill(0, bytesRead);
    this.#start = at;
    this.#size = WINDOW_BYTES;
  }

  byte(at: number): number {
    return this.#buffer[at - this.#start] ?? 0;
  }

  text(start: number, end: number): string {
    return this.#buffer.toString('utf8', start - this.#start, end - this.#start);
  }
}
