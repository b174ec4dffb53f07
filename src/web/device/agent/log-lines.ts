/** A line of the log of the agent. */
export interface LogLine {
  /** Empty when the line has none. */
  readonly at: string;
  readonly level: string;
  readonly part: string;
  readonly message: string;
  /** The other fields as JSON; empty without any. */
  readonly rest: string;
}

/** Reads lines of JSON, newest first. A line that is no JSON object is a message. */
export function parseLogLines(lines: readonly string[]): readonly LogLine[] {
  return lines.map(parseLogLine).reverse();
}

function parseLogLine(line: string): LogLine {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch {
    fields = null;
  }
  if (typeof fields !== 'object' || fields === null)
    return { at: '', level: '', part: '', message: line, rest: '' };
  const { time, level, part, msg, ...rest } = fields as Record<string, unknown>;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return {
    at: text(time),
    level: text(level),
    part: text(part),
    message: text(msg),
    rest: Object.keys(rest).length === 0 ? '' : JSON.stringify(rest),
  };
}

/** Lines that contain all words of a search, in any letter case. */
export function searchLines(lines: readonly LogLine[], search: string): readonly LogLine[] {
  const words = search
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return lines.filter(({ level, part, message, rest }) => {
    const text = `${level} ${part} ${message} ${rest}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
