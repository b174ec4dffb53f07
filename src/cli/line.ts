import { styleText } from 'node:util';
import { toPrintable } from '../base/printable.ts';

type Format = 'green' | 'yellow' | 'red' | 'dim' | 'bold';

interface Span {
  readonly text: string;
  readonly format: Format | null;
}

interface ColouredLine {
  readonly spans: readonly Span[];
}

/**
 * One line of output. Text holds no escape sequences: they are added when the line is printed, so that those of other
 * parties can be told from our own and removed.
 */
export type Line = string | ColouredLine;

const coloured =
  (format: Format) =>
  (text: string): Line => ({ spans: [{ text, format }] });

export const good = coloured('green');
export const warn = coloured('yellow');
export const bad = coloured('red');
export const dim = coloured('dim');
export const bold = coloured('bold');

/** A line from a template; its values may have colours: line`${bad('failed')}  ${message}`. */
export const line = (texts: TemplateStringsArray, ...values: readonly Line[]): Line => ({
  spans: texts.flatMap((text, index) => [
    { text, format: null },
    ...(index < values.length ? spansOf(values[index] ?? '') : []),
  ]),
});

const spansOf = (part: Line): readonly Span[] =>
  typeof part === 'string' ? [{ text: part, format: null }] : part.spans;

/** The characters that are written for a line, without the line break at its end. */
export const renderLine = (part: Line, isColoured: boolean): string =>
  spansOf(part)
    .map(({ text, format }) => {
      const printable = toPrintable(text);
      return isColoured && format !== null && text !== ''
        ? styleText(format, printable, { validateStream: false })
        : printable;
    })
    .join('');
