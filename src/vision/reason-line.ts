const MAX_REASON_CHARS = 400;
/** Kept of the end of a longer message: onnxruntime begins with what it did, and ends with what was wrong. */
const TAIL_CHARS = 240;

/**
 * Turns a message of a library into one line for operators: no paths, no control characters, no source positions, at
 * most `MAX_REASON_CHARS`: the start and the end. Messages of onnxruntime contain build directories, which must not leave the machine.
 */
export function toReasonLine(message: string): string {
  const line = message
    // Colour codes of native loggers.
    .replace(/\u001b\[[0-9;]*m/g, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    // An assertion of onnxruntime: source position, function and condition precede the message.
    .replace(/^.* was false\. /, '')
    // Keep the name of a library (libcudnn.so.9) and remove its directories.
    .replace(
      /(?:[A-Za-z]:\\|\\\\|\.{0,2}\/)(?:[^\s:'"()\\/]+[\\/])*([^\s:'"()\\/]*)/g,
      (_path, name: string) => (/\.(so|dylib|dll)\b/.test(name) ? name : '…'),
    )
    .replace(/…(:\d+)?(\s*…(:\d+)?)*/g, '…')
    .trim();
  if (line === '') return 'no reason given';
  if (line.length <= MAX_REASON_CHARS) return line;
  return `${line.slice(0, MAX_REASON_CHARS - TAIL_CHARS - 3)} … ${line.slice(-TAIL_CHARS)}`;
}
