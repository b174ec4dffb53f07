import { ageS } from '../../shared/ages.ts';
import { formatDuration } from '../../shared/format.ts';
import { text } from '../../shared/text.ts';

/** `12 s ago`. A component of its own, so that each second only these characters are drawn again. */
export function Age({ at }: { readonly at: string }) {
  return <time dateTime={at}>{text.now.ago(formatDuration(ageS(at)))}</time>;
}
