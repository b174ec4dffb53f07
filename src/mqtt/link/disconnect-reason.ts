/** Why a broker ends a connection, as far as it decides what to do next. */
export type Goodbye =
  /** Another client came with our client id. */
  | 'taken_over'
  /** Not allowed: trying again soon will not help. */
  | 'refused'
  /** Too much, too often, too busy: come back later. */
  | 'pressed'
  /** Go to another broker. */
  | 'moved'
  /** Everything else: the usual wait. */
  | 'unreachable';

const TAKEN_OVER = 142;
const REFUSED = new Set([135, 138, 140, 144, 152, 154, 155]);
const PRESSED = new Set([137, 147, 150, 151, 159]);
const MOVED = new Set([156, 157]);

/** The meaning of a DISCONNECT's reason code, or of a CONNACK's above 127. Source: MQTT 5.0 sections 3.14.2.1, 3.2.2.2. */
export function goodbye(code: number): Goodbye {
  if (code === TAKEN_OVER) return 'taken_over';
  if (REFUSED.has(code)) return 'refused';
  if (PRESSED.has(code)) return 'pressed';
  return MOVED.has(code) ? 'moved' : 'unreachable';
}
