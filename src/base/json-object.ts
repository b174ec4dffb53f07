/** The JSON object in the payload of a message; null for anything else: anybody may publish to a topic. */
export function parseJsonObject(payload: Uint8Array): object | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
