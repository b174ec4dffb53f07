import { fullFormats } from 'ajv-formats/dist/formats.js';
import { parseJsonObject } from '../base/json-object.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { AgentVersions } from '../contract/agent-update.ts';
import { Health } from '../contract/health.ts';
import { openForAdditions } from '../contract/schema-parts.ts';
import { Info, ModelState, Status } from '../contract/states.ts';

/** Larger payloads are invalid without parsing. The messages of a device with 64 cameras have less than half of it. */
const MAX_PAYLOAD_BYTES = 65_536;
const MAX_CHARS = 200;
const MAX_ITEMS = 32;

/** The retained topics of a device that are read. */
export const DEVICE_TOPICS = ['status', 'health', 'model/state', 'agent/state', 'info'] as const;
export type DeviceTopic = (typeof DEVICE_TOPICS)[number];

export interface DeviceMessages {
  readonly status: Pick<Status, 'state' | 'session' | 'at'>;
  readonly health: Pick<Health, 'at' | 'agent_version' | 'model' | 'degraded'>;
  readonly 'model/state': Pick<ModelState, 'active' | 'candidate' | 'phase' | 'install'>;
  readonly 'agent/state': Pick<AgentVersions, 'running' | 'update'>;
  readonly info: Pick<Info, 'time_zone'>;
}

// Agents of later versions may add fields and codes.
const ajv = schemaChecker({ strict: false, formats: fullFormats, removeAdditional: 'all' });
const validators = {
  status: ajv.compile<Status>(openForAdditions(Status)),
  health: ajv.compile<Health>(openForAdditions(Health)),
  'model/state': ajv.compile<ModelState>(openForAdditions(ModelState)),
  'agent/state': ajv.compile<AgentVersions>(openForAdditions(AgentVersions)),
  info: ajv.compile<Info>(openForAdditions(Info)),
};

/** The fields of the messages that are kept: others of thousands of devices would fill the memory. */
const KEPT_FIELDS = {
  status: ['state', 'session', 'at'],
  health: ['at', 'agent_version', 'model', 'degraded'],
  'model/state': ['active', 'candidate', 'phase', 'install'],
  'agent/state': ['running', 'update'],
  info: ['time_zone'],
} as const;

/**
 * Reads a message on one of the topics, which anybody may have published. Returns null when it does not match the schema
 * of the contract or is too large. Long texts and lists are shortened.
 */
export function readDeviceMessage<T extends DeviceTopic>(
  topic: T,
  payload: Uint8Array,
): DeviceMessages[T] | null {
  const value = payload.length > MAX_PAYLOAD_BYTES ? null : parseJsonObject(payload);
  if (value === null || !validators[topic](value)) return null;
  const kept = KEPT_FIELDS[topic].map((name) => [name, shorten((value as Record<string, unknown>)[name])]);
  return Object.fromEntries(kept) as DeviceMessages[T];
}

function shorten(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, MAX_CHARS);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map(shorten);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shorten(field)]));
}
